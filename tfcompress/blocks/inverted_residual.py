"""The inverted residual with a linear bottleneck, of MobileNetV2 and V3."""

import keras

from tfcompress.blocks.arguments import ACTIVATION, COUNT, IMAGE, NAME, RATIO, STRIDES
from tfcompress.blocks.convolution import convolution, depthwise, joined
from tfcompress.blocks.squeeze_excite import squeeze_excite
from tfcompress.core.kinds import Number, checked


@checked
def inverted_residual(
    x: IMAGE,
    filters: COUNT,
    expansion: Number(1, meaning="the inner channels per input channel") = 6,
    kernel_size: COUNT = 3,
    strides: STRIDES = 1,
    squeeze_excite_ratio: RATIO = None,
    activation: ACTIVATION = "relu6",
    name: NAME = None,
):
    """Expands, filters each channel separately, and reduces without an activation.

    `y = norm(P * SE(f(norm(D ⊛ f(norm(E * x))))))`, and `x + y` if the shapes agree
    (`strides=1` and `filters == I`). `E` and `P` are 1x1; `E` is omitted for
    `expansion=1`, and `SE` unless requested.

    Parameters, for `I` input channels, `O = filters`, `T = round(expansion · I)` and
    `S = max(1, round(squeeze_excite_ratio · T))`:

    - kernels: `I·T + k·k·T + T·O`; without `I·T` for `expansion=1`;
    - batch norm: `4·(2·T + O)`, half of them trainable; `4·(T + O)` for `expansion=1`.
      The convolutions have no biases;
    - squeeze-excite: `2·T·S + S + T`.

    Multiply-accumulates: `I·T` per input position and `(k·k + O)·T` per output position. A
    convolution from `T` to `T` channels takes `k·k·T·T`.

    Args:
        x: images `(batch, height, width, I)`.
        filters: number of output channels.
        expansion: inner channels divided by `I`, at least 1; 6 in MobileNetV2, 2.3 to 6 in
            V3.
        kernel_size: height and width `k` of the depthwise kernels; 3, in V3 also 5.
        strides: 1, or 2 to halve height and width.
        squeeze_excite_ratio: in (0, 1], 0.25 in V3; None for none.
        activation: `f`; "relu6" in V2, "relu" and "hard_swish" in V3.
        name: prefix of the layers' names; None lets Keras choose them.

    Returns:
        A tensor `(batch, ceil(height / strides), ceil(width / strides), filters)`.

    Raises:
        ValueError: if an argument is out of range or the channels of `x` are unknown.

    Source: Sandler et al., "MobileNetV2" (2018), section 3 and table 1; Howard et al.,
    "Searching for MobileNetV3" (2019), section 5.

    Example:
        >>> x = keras.Input((8, 8, 16))
        >>> model = keras.Model(x, inverted_residual(x, 16, expansion=2, name="block"))
        >>> norms = 4 * (2 * 32 + 16)
        >>> model.count_params() == 16 * 32 + 3 * 3 * 32 + 32 * 16 + norms
        True
        >>> model.layers[-1].name
        'block_add'
    """
    channels = x.shape[-1]
    y = x
    if expansion != 1:
        width = round(expansion * channels)
        y = convolution(x, width, activation=activation, name=joined(name, "expand"))
    y = depthwise(
        y,
        kernel_size,
        activation=activation,
        strides=strides,
        name=joined(name, "depthwise"),
    )
    if squeeze_excite_ratio is not None:
        y = squeeze_excite(y, squeeze_excite_ratio, joined(name, "attention"))
    y = convolution(y, filters, activation=None, name=joined(name, "project"))
    if strides == 1 and filters == channels:
        y = keras.layers.Add(name=joined(name, "add"))([x, y])
    return y
