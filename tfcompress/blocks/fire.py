"""The fire module of SqueezeNet."""

import keras

from tfcompress.blocks.arguments import COUNT, IMAGE, NAME
from tfcompress.blocks.convolution import convolution, joined
from tfcompress.core.kinds import Flag, checked


@checked
def fire(
    x: IMAGE,
    squeeze: COUNT,
    expand: COUNT,
    use_batch_norm: Flag() = False,
    name: NAME = None,
):
    """Narrows the channels, then widens them by 1x1 and 3x3 kernels side by side.

    `z = relu(S * x)`, `y = concatenate(relu(E₁ * z), relu(E₃ * z))` with `S` and `E₁`
    of 1x1 and `E₃` of 3x3.

    Parameters, for `I` input channels, `s = squeeze` and `e = expand`:

    - kernels: `I·s + s·e + 9·s·e`, against `9·I·2·e` of a 3x3 convolution to as many
      channels;
    - without batch norm `s + 2·e` biases more;
    - with batch norm `4·(s + 2·e)` more, half of them trained, and no biases.

    Multiply-accumulates for each position: as many as there are elements in the kernels.

    Args:
        x: images `(batch, height, width, I)`.
        squeeze: channels after the squeeze; the paper's networks have `expand / 4`.
        expand: channels of each of the two expansions.
        use_batch_norm: whether batch norm follows each convolution; the paper has none.
        name: prefix of the layers' names; Keras chooses them without it.

    Returns:
        A tensor `(batch, height, width, 2 · expand)`.

    Raises:
        ValueError: if an argument is out of range or the channels of `x` are unknown.

    Source: Iandola et al., "SqueezeNet" (2016), section 3.2.

    Example:
        >>> x = keras.Input((8, 8, 96))
        >>> model = keras.Model(x, fire(x, squeeze=16, expand=64, name="fire2"))
        >>> model.count_params() == 96 * 16 + 16 * 64 + 9 * 16 * 64 + 16 + 2 * 64
        True
        >>> [a.name for a in model.layers if isinstance(a, keras.layers.Conv2D)]
        ['fire2_squeeze', 'fire2_expand_1x1', 'fire2_expand_3x3']
    """
    shared = {"use_batch_norm": use_batch_norm}
    z = convolution(x, squeeze, name=joined(name, "squeeze"), **shared)
    branches = [
        convolution(
            z, expand, size, name=joined(name, f"expand_{size}x{size}"), **shared
        )
        for size in (1, 3)
    ]
    return keras.layers.Concatenate(name=joined(name, "concat"))(branches)
