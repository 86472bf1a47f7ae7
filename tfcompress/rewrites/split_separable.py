"""Splits a separable convolution into two convolutions."""

import keras

from tfcompress.core.nouns import LayerRewrite


class SplitSeparable(LayerRewrite):
    """Replaces SeparableConv2D by DepthwiseConv2D and a 1x1 Conv2D.

    Inference and gradients stay the same; the intermediate result becomes a tensor of the
    graph, for which int8 needs a range.

    Source: Chollet, "Xception" (2017), section 2.

    >>> x = keras.Input((8, 8, 3))
    >>> model = keras.Model(x, keras.layers.SeparableConv2D(4, 3)(x))
    >>> split = tfc.rewrites.apply(model, SplitSeparable())
    >>> [type(layer).__name__ for layer in split.layers[1:]]
    ['DepthwiseConv2D', 'Conv2D']
    """

    def matches(self, layer):
        """Whether it is a SeparableConv2D with channels last."""
        return (
            isinstance(layer, keras.layers.SeparableConv2D)
            and layer.data_format == "channels_last"
        )

    def __call__(self, layer):
        """The two layers; the second one keeps the name."""
        shared = {"trainable": layer.trainable, "dtype": layer.dtype_policy}
        depthwise = keras.layers.DepthwiseConv2D(
            layer.kernel_size,
            strides=layer.strides,
            padding=layer.padding,
            dilation_rate=layer.dilation_rate,
            depth_multiplier=layer.depth_multiplier,
            use_bias=False,
            depthwise_regularizer=layer.depthwise_regularizer,
            name=f"{layer.name}_depthwise",
            **shared,
        )
        pointwise = keras.layers.Conv2D(
            layer.filters,
            1,
            use_bias=layer.use_bias,
            activation=layer.activation,
            kernel_regularizer=layer.pointwise_regularizer,
            bias_regularizer=layer.bias_regularizer,
            name=layer.name,
            **shared,
        )
        depthwise.build(layer.input.shape)
        pointwise.build(depthwise.compute_output_shape(layer.input.shape))
        depthwise.kernel.assign(layer.depthwise_kernel)
        pointwise.kernel.assign(layer.pointwise_kernel)
        if layer.use_bias:
            pointwise.bias.assign(layer.bias)
        return [depthwise, pointwise]
