"""Fixed per-channel `a x + b` as one operation."""

import keras
import numpy as np

from tfcompress.core.nouns import LayerRewrite


class AffineAsConvolution(LayerRewrite):
    """Writes Normalization and Rescaling of images as a 1x1 depthwise convolution.

    `y_c = a_c x_c + b_c` with kernel `a` and bias `b`. In TFLite these layers are a
    multiplication and an addition; int8 needs a range between the two, and a
    convolution does not. The new layer is not trainable.

    >>> x = keras.Input((4, 4, 3))
    >>> model = keras.Model(x, keras.layers.Rescaling(1 / 255)(x))
    >>> type(tfc.rewrites.apply(model, AffineAsConvolution()).layers[1]).__name__
    'DepthwiseConv2D'
    """

    def matches(self, layer):
        """Rescaling and feature-wise Normalization of float images, channels last."""
        if isinstance(layer, keras.layers.Normalization):
            known = layer.axis in ((-1,), (3,)) and not layer.invert
        else:
            known = isinstance(layer, keras.layers.Rescaling)
        if not known or len(layer._inbound_nodes) != 1:
            return False
        shape = layer.output.shape
        is_float = keras.backend.is_float_dtype(layer.input.dtype)
        return len(shape) == 4 and shape[-1] is not None and is_float

    def __call__(self, layer):
        """One `DepthwiseConv2D`."""
        channels = layer.output.shape[-1]
        if isinstance(layer, keras.layers.Rescaling):
            scale, offset = layer.scale, layer.offset
        else:
            mean, variance = np.ravel(layer.mean), np.ravel(layer.variance)
            scale = 1.0 / np.maximum(np.sqrt(variance), keras.config.epsilon())
            offset = -mean * scale
        convolution = keras.layers.DepthwiseConv2D(
            1, name=layer.name, trainable=False, data_format="channels_last"
        )
        convolution.build(layer.output.shape)
        ones = np.ones(channels)
        convolution.kernel.assign(np.reshape(scale * ones, convolution.kernel.shape))
        convolution.bias.assign(offset * ones)
        return [convolution]
