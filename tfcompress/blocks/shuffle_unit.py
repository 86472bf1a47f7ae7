"""The shuffle unit of ShuffleNet, and its channel shuffle."""

import keras

from tfcompress.blocks.arguments import (
    COUNT,
    IMAGE,
    NAME,
    STRIDES,
    check_divides,
)
from tfcompress.blocks.convolution import convolution, depthwise, joined
from tfcompress.core.kinds import checked


@checked
def shuffle_unit(
    x: IMAGE, filters: COUNT, groups: COUNT = 3, strides: STRIDES = 1, name: NAME = None
):
    """Grouped 1x1 kernels, a channel shuffle, a depthwise 3x3, grouped 1x1 kernels.

    `z = norm(G₂ * norm(D ⊛ shuffle(relu(norm(G₁ * x)))))`; then `y = relu(x + z)`, or, for
    `strides=2`, `y = relu(concatenate(average_pool(x), z))` with 3x3 pooling.

    Parameters, for `I` input channels, `O = filters`, `B = O / 4` channels in the
    bottleneck, `g = groups`, and `Z = O` (`O - I` for `strides=2`) channels of `z`:

    - kernels: `I·B/g + 9·B + B·Z/g`;
    - batch norm: `4·(2·B + Z)`, half of them trainable. There are no biases.

    Multiply-accumulates: `I·B/g` per input position and `9·B + B·Z/g` per output position.

    Args:
        x: images `(batch, height, width, I)`.
        filters: number of output channels, a multiple of 4; `I` for `strides=1`, more
            for `strides=2`.
        groups: groups of the 1x1 convolutions; must divide `I`, `B` and `Z`. 1, 2, 3, 4 or
            8 in the paper.
        strides: 1, or 2 to halve height and width.
        name: prefix of the layers' names; None lets Keras choose them.

    Returns:
        A tensor `(batch, ceil(height / strides), ceil(width / strides), filters)`.

    Raises:
        ValueError: if an argument is out of range, `groups` does not divide the channels,
            or the channels, or both height and width, of `x` are unknown.

    Source: Zhang et al., "ShuffleNet" (2018), sections 3.1 and 3.2, figure 2.

    Example:
        >>> x = keras.Input((8, 8, 24))
        >>> model = keras.Model(x, shuffle_unit(x, 24, groups=3))
        >>> kernels = 24 * 6 // 3 + 9 * 6 + 6 * 24 // 3
        >>> model.count_params() == kernels + 4 * (2 * 6 + 24)
        True
    """
    channels = x.shape[-1]
    added = _added_channels(channels, filters, strides)
    bottleneck = filters // 4
    check_divides(
        "shuffle_unit",
        "groups",
        groups,
        input_channels=channels,
        bottleneck_channels=bottleneck,
        added_channels=added,
    )
    z = convolution(x, bottleneck, groups=groups, name=joined(name, "reduce"))
    z = channel_shuffle(z, groups, joined(name, "shuffle"))
    z = depthwise(z, activation=None, strides=strides, name=joined(name, "depthwise"))
    z = convolution(
        z, added, activation=None, groups=groups, name=joined(name, "restore")
    )
    if strides == 1:
        y = keras.layers.Add(name=joined(name, "add"))([x, z])
    else:
        pool = keras.layers.AveragePooling2D(3, 2, "same", name=joined(name, "pool"))
        y = keras.layers.Concatenate(name=joined(name, "concat"))([pool(x), z])
    return keras.layers.Activation("relu", name=joined(name, "activation"))(y)


def _added_channels(channels, filters, strides):
    """The number of channels that the convolutions return."""
    if filters % 4:
        raise ValueError(
            f"shuffle_unit(filters={filters}): expected a multiple of 4, since the "
            "bottleneck has a quarter of the channels."
        )
    if strides == 1 and filters != channels:
        raise ValueError(
            f"shuffle_unit(filters={filters}): with strides=1 the input is added, so "
            f"filters must be its {channels} channels. Change the number with strides=2."
        )
    if strides == 2 and filters <= channels:
        raise ValueError(
            f"shuffle_unit(filters={filters}): with strides=2 the {channels} channels of "
            f"the input are part of the output; expected more than {channels}."
        )
    return filters if strides == 1 else filters - channels


@checked
def channel_shuffle(x: IMAGE, groups: COUNT, name: NAME = None):
    """Distributes the channels of each group to all groups.

    `y[..., c·g + j] = x[..., j·(I/g) + c]` for `g = groups`, `j < g` and `c < I/g`: the
    channels as a `g` by `I/g` matrix, transposed. It has no parameters and needs no
    multiplications.

    Args:
        x: images `(batch, height, width, I)`; at most one of height and width unknown.
        groups: number of groups; must divide `I`.
        name: prefix of the layers' names; None lets Keras choose them.

    Returns:
        A tensor with the shape of `x`.

    Raises:
        ValueError: if `groups` does not divide `I`, or sizes of `x` are unknown.

    Source: Zhang et al., "ShuffleNet" (2018), section 3.1, figure 1.

    Example:
        >>> x = np.arange(6.0).reshape(1, 1, 1, 6)
        >>> np.ravel(channel_shuffle(x, groups=2))
        array([0., 3., 1., 4., 2., 5.], dtype=float32)
    """
    channels = x.shape[-1]
    check_divides("channel_shuffle", "groups", groups, channels=channels)
    height, width = x.shape[1:3]
    if height is None and width is None:
        raise ValueError(
            "channel_shuffle: height and width of x are unknown; expected at least one, "
            "to restore the shape. Give keras.Input a shape such as (224, 224, 3)."
        )
    y = keras.layers.Reshape(
        (-1, groups, channels // groups), name=joined(name, "split")
    )(x)
    y = keras.layers.Permute((1, 3, 2), name=joined(name, "permute"))(y)
    return keras.layers.Reshape(
        (height or -1, width or -1, channels), name=joined(name, "merge")
    )(y)
