"""Channel attention: squeeze and excite."""

import keras

from tfcompress.blocks.arguments import IMAGE, NAME, RATIO
from tfcompress.blocks.convolution import convolution, joined
from tfcompress.core.kinds import checked


@checked
def squeeze_excite(x: IMAGE, ratio: RATIO = 0.25, name: NAME = None):
    """Scales each channel by a factor computed from the means of all channels.

    `y = x · hard_sigmoid(B · relu(A · mean(x)))`, with the mean over height and width.

    Parameters, for `I` channels and `S = max(1, round(ratio · I))`: `2·I·S + S + I`
    (kernels and biases; there is no batch norm). Multiply-accumulates: `2·I·S` per image.

    Args:
        x: images `(batch, height, width, I)`.
        ratio: channels of the bottleneck divided by `I`, in (0, 1].
        name: prefix of the layers' names; None lets Keras choose them.

    Returns:
        A tensor with the shape of `x`.

    Raises:
        ValueError: if `ratio` is out of range or the channels of `x` are unknown.

    Source: Hu et al., "Squeeze-and-Excitation Networks" (2018), section 3; the gate as in
    Howard et al., "Searching for MobileNetV3" (2019), section 5.3.

    Example:
        >>> x = keras.Input((8, 8, 16))
        >>> keras.Model(x, squeeze_excite(x)).count_params() == 2 * 16 * 4 + 4 + 16
        True
    """
    channels = x.shape[-1]
    if ratio is None:
        raise ValueError(
            "squeeze_excite(ratio=None): expected a fraction such as 0.25."
        )
    plain = {"use_batch_norm": False}
    y = keras.layers.GlobalAveragePooling2D(keepdims=True, name=joined(name, "mean"))(x)
    y = convolution(
        y, max(1, round(ratio * channels)), name=joined(name, "squeeze"), **plain
    )
    y = convolution(
        y, channels, activation="hard_sigmoid", name=joined(name, "excite"), **plain
    )
    return keras.layers.Multiply(name=joined(name, "scale"))([x, y])
