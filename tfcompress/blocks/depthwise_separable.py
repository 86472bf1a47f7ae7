"""The depthwise-separable convolution of MobileNet."""

from tfcompress.blocks.arguments import ACTIVATION, COUNT, IMAGE, NAME, STRIDES
from tfcompress.blocks.convolution import convolution, depthwise, joined
from tfcompress.core.kinds import Flag, checked


@checked
def depthwise_separable(
    x: IMAGE,
    filters: COUNT,
    kernel_size: COUNT = 3,
    strides: STRIDES = 1,
    activation: ACTIVATION = "relu",
    use_batch_norm: Flag() = True,
    name: NAME = None,
):
    """Filters every channel separately, then mixes the channels.

    `y = f(norm(P * f(norm(D ⊛ x))))` with a k·k kernel `D` per channel (`⊛`: channel by
    channel) and a 1x1 kernel `P`, padding "same".

    Parameters, for `I` input channels and `O = filters`:

    - kernels: `k·k·I + I·O`, compared with `k·k·I·O` for a convolution: `1/O + 1/k²` of it;
    - with batch norm, `4·I + 4·O` more, half of them trainable, and no biases;
    - without batch norm, `I + O` more for biases.

    Multiply-accumulates: `k·k·I + I·O` per output position, compared with `k·k·I·O`.

    Args:
        x: images `(batch, height, width, I)`.
        filters: number of output channels.
        kernel_size: height and width `k` of the depthwise kernels.
        strides: strides of the depthwise convolution: 1, or 2 to halve height and width.
        activation: `f`, a Keras activation; None for none.
        use_batch_norm: whether batch norm follows each convolution.
        name: prefix of the layers' names; None lets Keras choose them.

    Returns:
        A tensor `(batch, ceil(height / strides), ceil(width / strides), filters)`.

    Raises:
        ValueError: if an argument is out of range or the channels of `x` are unknown.

    Source: Howard et al., "MobileNets" (2017), sections 3.1 and 3.2.

    Example:
        >>> x = keras.Input((8, 8, 16))
        >>> y = depthwise_separable(x, 32, use_batch_norm=False)
        >>> keras.Model(x, y).count_params() == 3 * 3 * 16 + 16 * 32 + 16 + 32
        True
    """
    shared = {"activation": activation, "use_batch_norm": use_batch_norm}
    y = depthwise(
        x, kernel_size, strides=strides, name=joined(name, "depthwise"), **shared
    )
    return convolution(y, filters, name=joined(name, "pointwise"), **shared)
