"""The parts of blocks: convolutions with batch norm and activation."""

import keras


def joined(name, part):
    """The name of a part of a block; None without a prefix, so that Keras chooses."""
    return name and f"{name}_{part}"


def convolution(
    x,
    filters,
    kernel_size=1,
    activation="relu",
    use_batch_norm=True,
    name=None,
    **options,
):
    """Conv2D, batch norm and activation; `options` are those of Conv2D.

    Parameters: `kernel_size² · I · filters / groups`, plus `filters` for the bias or
    `4 · filters` for the batch norm.
    """
    x = keras.layers.Conv2D(
        filters,
        kernel_size,
        name=name,
        **{"padding": "same", "use_bias": not use_batch_norm, **options},
    )(x)
    return _finish(x, activation, use_batch_norm, name)


def depthwise(
    x, kernel_size=3, activation="relu", use_batch_norm=True, name=None, **options
):
    """DepthwiseConv2D, batch norm and activation; `options` are the layer's.

    Parameters: `kernel_size² · I · depth_multiplier`, plus one for the bias or four for the
    batch norm per output channel.
    """
    # Keras counts all channels in the fan-in of a depthwise kernel, although an output sees
    # only one; what it calls fan-out is the number of inputs that an output really has.
    initializer = keras.initializers.VarianceScaling(2.0, mode="fan_out")
    x = keras.layers.DepthwiseConv2D(
        kernel_size,
        depthwise_initializer=initializer,
        name=name,
        **{"padding": "same", "use_bias": not use_batch_norm, **options},
    )(x)
    return _finish(x, activation, use_batch_norm, name)


def _finish(x, activation, use_batch_norm, name):
    if use_batch_norm:
        x = keras.layers.BatchNormalization(name=joined(name, "norm"))(x)
    if activation is None:
        return x
    return keras.layers.Activation(activation, name=joined(name, "activation"))(x)
