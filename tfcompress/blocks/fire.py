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
    """Reduces the channels, then expands them by 1x1 and 3x3 kernels in parallel.

    `z = relu(S * x)`, `y = concatenate(relu(E₁ * z), relu(E₃ * z))` with 1x1 kernels `S`
    and `E₁` and a 3x3 kernel `E₃`.

    Parameters, for `I` input channels, `s = squeeze` and `e = expand`:

    - kernels: `I·s + s·e + 9·s·e`, compared with `9·I·2·e` for a 3x3 convolution to the
      same number of channels;
    - without batch norm, `s + 2·e` more for biases;
    - with batch norm, `4·(s + 2·e)` more, half of them trainable, and no biases.

    Multiply-accumulates per position: the number of elements in the kernels.

    Args:
        x: images `(batch, height, width, I)`.
        squeeze: number of channels after the squeeze; `expand / 4` in the paper's networks.
        expand: number of channels of each of the two expansions.
        use_batch_norm: whether batch norm follows each convolution; the paper has none.
        name: prefix of the layers' names; None lets Keras choose them.

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
