"""Splits a convolution that reads each channel at one position in two."""

import keras
import numpy as np

from tfcompress.core.nouns import LayerRewrite

L = keras.layers


class SplitShift(LayerRewrite):
    """Replaces a convolution of shifted channels by DepthwiseConv2D and a 1x1 Conv2D.

    If all filters read an input channel at the same position of the window, as after
    `tfc.transforms.ShiftAttention`, the kernel is equal to a one-hot `k x k` kernel per
    channel, which shifts it, and a `1 x 1` kernel. The function is exactly the same, with
    `k² + n` MACs per channel and position instead of `k² n` for `n` filters.

    Source: Hacene et al., "Attention Based Pruning for Shift Networks" (2019), section 3;
    as a depthwise convolution, since TFLite has no shift.

    >>> x = keras.Input((8, 8, 1))
    >>> layer = keras.layers.Conv2D(4, 3, name="c"); y = layer(x)
    >>> _ = layer.kernel.assign(layer.kernel * np.eye(9)[5].reshape(3, 3, 1, 1))
    >>> split = tfc.rewrites.apply(keras.Model(x, y), SplitShift())
    >>> [(type(layer).__name__, layer.name) for layer in split.layers[1:]]
    [('DepthwiseConv2D', 'c_shift'), ('Conv2D', 'c')]
    """

    def matches(self, layer):
        """Whether it is a Conv2D, channels last, that reads channels at one position."""
        return (
            isinstance(layer, L.Conv2D)
            and np.prod(layer.kernel_size) > 1
            and len(set(layer.strides)) == 1
            and layer.groups == 1
            and layer.data_format == "channels_last"
            and bool((_places(layer).sum(axis=(0, 1)) <= 1).all())
        )

    def __call__(self, layer):
        """The two layers; the second one keeps the name."""
        shared = {
            "trainable": layer.trainable,
            "dtype": layer.dtype_policy,
            "data_format": "channels_last",
        }
        shift = L.DepthwiseConv2D(
            layer.kernel_size,
            strides=layer.strides,
            padding=layer.padding,
            dilation_rate=layer.dilation_rate,
            use_bias=False,
            name=f"{layer.name}_shift",
            **{**shared, "trainable": False},
        )
        pointwise = L.Conv2D(
            layer.filters,
            1,
            use_bias=layer.use_bias,
            activation=layer.activation,
            kernel_regularizer=layer.kernel_regularizer,
            bias_regularizer=layer.bias_regularizer,
            name=layer.name,
            **shared,
        )
        shift.build(layer.input.shape)
        pointwise.build(shift.compute_output_shape(layer.input.shape))
        shift.kernel.assign(_places(layer)[..., None])
        pointwise.kernel.assign(layer.kernel.numpy().sum(axis=(0, 1), keepdims=True))
        if layer.use_bias:
            pointwise.bias.assign(layer.bias)
        return [shift, pointwise]


def _places(layer):
    """Positions where a kernel reads each input, booleans `(height, width, inputs)`."""
    return layer.kernel.numpy().any(axis=-1)
