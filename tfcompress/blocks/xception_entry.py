"""A module of Xception's entry flow."""

import keras

from tfcompress.blocks.arguments import COUNT, IMAGE, NAME
from tfcompress.blocks.convolution import convolution, depthwise, joined
from tfcompress.core.kinds import Flag, checked


@checked
def xception_entry(
    x: IMAGE, filters: COUNT, activate_first: Flag() = True, name: NAME = None
):
    """Two separable convolutions and a max pooling, with a strided 1x1 shortcut.

    `y = norm(S * x) + max_pool(norm(P₂ * D₂ ⊛ relu(norm(P₁ * D₁ ⊛ relu(x)))))` with 3x3
    kernels `D`, 1x1 kernels `P`, a 1x1 kernel `S` with strides 2, and 3x3 pooling with
    strides 2. Each separable convolution is written as a depthwise and a 1x1 convolution.

    Parameters, for `I` input channels and `O = filters`:

    - kernels: `(9·I + I·O) + (9·O + O·O) + I·O`; the same with plain convolutions would
      be `9·I·O + 9·O·O + I·O`;
    - batch norm: `4 · 3 · O`, half of them trainable. There are no biases.

    Multiply-accumulates: `9·I + I·O + 9·O + O·O` per input position and `I·O` per output
    position.

    Args:
        x: images `(batch, height, width, I)`.
        filters: number of output channels; 128, 256 and 728 in the paper.
        activate_first: whether to apply the first activation; the paper's first module
            does not.
        name: prefix of the layers' names; None lets Keras choose them.

    Returns:
        A tensor `(batch, ceil(height / 2), ceil(width / 2), filters)`.

    Raises:
        ValueError: if `filters` is out of range or the channels of `x` are unknown.

    Source: Chollet, "Xception" (2017), section 3 and figure 5.

    Example:
        >>> x = keras.Input((8, 8, 16))
        >>> model = keras.Model(x, xception_entry(x, 32))
        >>> kernels = (9 * 16 + 16 * 32) + (9 * 32 + 32 * 32) + 16 * 32
        >>> model.count_params() == kernels + 4 * 3 * 32
        True
    """
    linear = {"activation": None}
    y = x
    if activate_first:
        y = keras.layers.Activation("relu", name=joined(name, "activation"))(y)
    for number, activation in ((1, "relu"), (2, None)):
        prefix = joined(name, f"separable{number}")
        y = depthwise(
            y,
            use_batch_norm=False,
            use_bias=False,
            name=joined(prefix, "depthwise"),
            **linear,
        )
        y = convolution(
            y, filters, activation=activation, name=joined(prefix, "pointwise")
        )
    y = keras.layers.MaxPooling2D(3, 2, "same", name=joined(name, "pool"))(y)
    shortcut = convolution(
        x, filters, strides=2, name=joined(name, "shortcut"), **linear
    )
    return keras.layers.Add(name=joined(name, "add"))([shortcut, y])
