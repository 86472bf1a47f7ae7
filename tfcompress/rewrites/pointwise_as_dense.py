"""Turns a 1x1 convolution into a dense layer."""

import keras

from tfcompress.core.nouns import LayerRewrite

L = keras.layers


class PointwiseAsDense(LayerRewrite):
    """Writes a 1x1 convolution as a Dense layer over the channels of every pixel.

    `y_p = f(x_p W + b)` at every pixel `p`; strides become a max pooling of one pixel
    that drops the others, named `<name>_stride`. In TFLite, the layer is a
    FULLY_CONNECTED operation, whose int4 kernels stay packed while it runs; those of a
    convolution are unpacked on every run, or, with `profile="custom"`, to int8 when the
    file is loaded. `tfc.post_training.faster_pointwise` measures
    where this is faster.

    Example:
        >>> x = keras.Input((8, 8, 16))
        >>> model = keras.Model(x, keras.layers.Conv2D(32, 1, strides=2, name="c")(x))
        >>> dense = tfc.rewrites.apply(model, PointwiseAsDense())
        >>> [(type(layer).__name__, layer.name) for layer in dense.layers[1:]]
        [('MaxPooling2D', 'c_stride'), ('Dense', 'c')]
    """

    def matches(self, layer):
        """Whether it is a Conv2D with a 1x1 window over all channels, channels last."""
        return (
            isinstance(layer, L.Conv2D)
            and tuple(layer.kernel_size) == (1, 1)
            and layer.groups == 1
            and layer.data_format == "channels_last"
        )

    def __call__(self, layer):
        """A Dense layer, after a pooling if there are strides."""
        dense = L.Dense(
            layer.filters,
            activation=layer.activation,
            use_bias=layer.use_bias,
            kernel_regularizer=layer.kernel_regularizer,
            bias_regularizer=layer.bias_regularizer,
            trainable=layer.trainable,
            name=layer.name,
            dtype=layer.dtype_policy,
        )
        dense.build(layer.input.shape)
        dense.kernel.assign(layer.kernel.numpy()[0, 0])
        if layer.use_bias:
            dense.bias.assign(layer.bias)
        if tuple(layer.strides) == (1, 1):
            return [dense]
        stride = L.MaxPooling2D(
            1,
            strides=layer.strides,
            padding=layer.padding,
            data_format="channels_last",
            name=f"{layer.name}_stride",
        )
        return [stride, dense]
