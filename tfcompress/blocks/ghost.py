"""The ghost module and the ghost bottleneck of GhostNet."""

import keras

from tfcompress.blocks.arguments import (
    ACTIVATION,
    COUNT,
    IMAGE,
    NAME,
    RATIO,
    STRIDES,
    check_divides,
)
from tfcompress.blocks.convolution import convolution, depthwise, joined
from tfcompress.blocks.squeeze_excite import squeeze_excite
from tfcompress.core.kinds import Integer, checked


@checked
def ghost(
    x: IMAGE,
    filters: COUNT,
    kernel_size: COUNT = 1,
    ratio: Integer(2) = 2,
    cheap_size: COUNT = 3,
    strides: STRIDES = 1,
    activation: ACTIVATION = "relu",
    name: NAME = None,
):
    """Convolves to a fraction of the channels and computes the others from those.

    `z = f(norm(K * x))` with `m = filters / ratio` channels, and
    `y = concatenate(z, f(norm(D ⊛ z)))`, where `D` computes `ratio - 1` channels from each.

    Parameters, for `I` input channels, `k = kernel_size` and `d = cheap_size`:

    - kernels: `k·k·I·m + d·d·m·(ratio - 1)`, compared with `k·k·I·filters` for a
      convolution: about `1 / ratio` of it;
    - batch norm: `4 · filters`, half of them trainable. There are no biases.

    Multiply-accumulates per output position: the number of elements in the kernels.

    Args:
        x: images `(batch, height, width, I)`.
        filters: number of output channels, a multiple of `ratio`.
        kernel_size: height and width `k` of the convolution.
        ratio: output channels divided by those of the convolution, at least 2.
        cheap_size: height and width `d` of the depthwise kernels.
        strides: 1, or 2 to halve height and width.
        activation: `f`, a Keras activation; None for none.
        name: prefix of the layers' names; None lets Keras choose them.

    Returns:
        A tensor `(batch, ceil(height / strides), ceil(width / strides), filters)`.

    Raises:
        ValueError: if an argument is out of range, `ratio` does not divide `filters`, or
            the channels of `x` are unknown.

    Source: Han et al., "GhostNet" (2020), section 3.1.

    Example:
        >>> x = keras.Input((8, 8, 16))
        >>> model = keras.Model(x, ghost(x, 32, kernel_size=3))
        >>> model.count_params() == 3 * 3 * 16 * 16 + 3 * 3 * 16 + 4 * 32
        True
    """
    if ratio == 1:
        raise ValueError(
            "ghost(ratio=1): expected at least 2; 1 is a convolution without ghosts."
        )
    check_divides("ghost", "ratio", ratio, filters=filters)
    z = convolution(
        x,
        filters // ratio,
        kernel_size,
        activation,
        strides=strides,
        name=joined(name, "primary"),
    )
    cheap = depthwise(
        z,
        cheap_size,
        activation,
        depth_multiplier=ratio - 1,
        name=joined(name, "cheap"),
    )
    return keras.layers.Concatenate(name=joined(name, "concat"))([z, cheap])


@checked
def ghost_bottleneck(
    x: IMAGE,
    filters: COUNT,
    expand: COUNT,
    kernel_size: COUNT = 3,
    strides: STRIDES = 1,
    squeeze_excite_ratio: RATIO = None,
    name: NAME = None,
):
    """A ghost module that expands, one that reduces, and a shortcut around both.

    `y = shortcut(x) + ghost₂(SE(norm(D ⊛ ghost₁(x))))`; only `ghost₁` has an activation.
    `D` is present for `strides=2`, `SE` if requested. The shortcut is `x` if the shapes
    agree, else `norm(P * norm(D' ⊛ x))` with a k·k kernel `D'` and a 1x1 kernel `P`.

    Parameters, for `I` input channels, `E = expand`, `O = filters` and
    `S = max(1, round(squeeze_excite_ratio · E))`, including batch norm, half of which is
    trainable; only squeeze-excite has biases:

    - `ghost₁`: `I·E/2 + 9·E/2 + 4·E`; `ghost₂`: `E·O/2 + 9·O/2 + 4·O`;
    - for `strides=2`: `k·k·E + 4·E`;
    - squeeze-excite: `2·E·S + S + E`;
    - the shortcut, if it is not `x`: `k·k·I + 4·I + I·O + 4·O`.

    Args:
        x: images `(batch, height, width, I)`.
        filters: number of output channels, even.
        expand: number of channels between the ghost modules, even.
        kernel_size: height and width `k` of the depthwise kernels; 3 or 5 in the paper.
        strides: 1, or 2 to halve height and width.
        squeeze_excite_ratio: in (0, 1], 0.25 in the paper; None for none.
        name: prefix of the layers' names; None lets Keras choose them.

    Returns:
        A tensor `(batch, ceil(height / strides), ceil(width / strides), filters)`.

    Raises:
        ValueError: if an argument is out of range or odd, or the channels of `x` are
            unknown.

    Source: Han et al., "GhostNet" (2020), section 3.2, figure 3 and table 1.

    Example:
        >>> x = keras.Input((8, 8, 16))
        >>> model = keras.Model(x, ghost_bottleneck(x, 16, expand=48))
        >>> first = (16 * 48 + 9 * 48) // 2 + 4 * 48
        >>> model.count_params() == first + (48 * 16 + 9 * 16) // 2 + 4 * 16
        True
    """
    channels = x.shape[-1]
    for argument, count in (("filters", filters), ("expand", expand)):
        if count % 2:
            raise ValueError(
                f"ghost_bottleneck({argument}={count}): expected an even number, since "
                "half of the channels are computed from the other half."
            )
    linear = {"activation": None, "strides": strides}
    y = ghost(x, expand, name=joined(name, "widen"))
    if strides == 2:
        y = depthwise(y, kernel_size, name=joined(name, "depthwise"), **linear)
    if squeeze_excite_ratio is not None:
        y = squeeze_excite(y, squeeze_excite_ratio, joined(name, "attention"))
    y = ghost(y, filters, activation=None, name=joined(name, "narrow"))
    if strides == 2 or filters != channels:
        prefix = joined(name, "shortcut")
        x = depthwise(x, kernel_size, name=joined(prefix, "depthwise"), **linear)
        x = convolution(x, filters, activation=None, name=joined(prefix, "pointwise"))
    return keras.layers.Add(name=joined(name, "add"))([x, y])
