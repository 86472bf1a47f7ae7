"""The residual block with one binary convolution, of Bi-Real Net and QuickNet."""

import keras

from tfcompress.blocks.arguments import ACTIVATION, COUNT, IMAGE, NAME, STRIDES
from tfcompress.blocks.convolution import convolution, joined
from tfcompress.core.kinds import PlugIn, checked
from tfcompress.core.nouns import ActivationQuantizer
from tfcompress.quantization.layers import QuantizedActivation


@checked
def binary_residual(
    x: IMAGE,
    filters: COUNT,
    kernel_size: COUNT = 3,
    strides: STRIDES = 1,
    quantizer: PlugIn(ActivationQuantizer) = "approx_sign",
    activation: ACTIVATION = None,
    name: NAME = None,
):
    """Convolves the signs of its input and adds the real-valued input itself.

    `y = norm(f(B * sign(x))) + shortcut(x)` with a k·k kernel `B`. The shortcut is `x` if
    the shapes agree, else `norm(P * average_pool(x))` with a real-valued 1x1 kernel `P`;
    without the pooling for `strides=1`, without `P` if the channels agree.

    The kernel `B` is real until a rule makes it binary. The name of the convolution ends
    in `_binary`, so one rule covers all such blocks:
    `tfc.compress(model, {".*_binary": "binary"})`.

    Parameters, for `I` input channels and `O = filters`:

    - kernels: `k·k·I·O`, with one bit each once binary; `I·O` in the shortcut, if `I` is
      not `O`;
    - batch norm: `4·O`, and `4·O` in the shortcut, half of them trainable. There are no
      biases.

    Multiply-accumulates per output position: the number of elements in the kernels.

    Args:
        x: real-valued images `(batch, height, width, I)`: the shortcut carries what the
            signs lose, so there is one per convolution.
        filters: number of output channels.
        kernel_size: height and width `k` of the binary kernels.
        strides: 1, or 2 to halve height and width.
        quantizer: the sign, as in `tfc.layers.QuantizedActivation`: "approx_sign" in
            Bi-Real Net, "sign" in QuickNet.
        activation: `f`, a Keras activation; None for none, as in Bi-Real Net; "relu" in
            QuickNet.
        name: prefix of the layers' names; None lets Keras choose them.

    Returns:
        A tensor `(batch, ceil(height / strides), ceil(width / strides), filters)`.

    Raises:
        ValueError: if an argument is out of range or the channels of `x` are unknown.

    Source: Liu et al., "Bi-Real Net" (2018), section 3.2 and figure 3; Bannink et al.,
    "Larq Compute Engine" (2021), section 5, for QuickNet.

    Example:
        >>> x = keras.Input((8, 8, 32))
        >>> y = binary_residual(x, 32, name="block1")
        >>> y = binary_residual(y, 64, strides=2, name="block2")
        >>> model = tfc.compress(keras.Model(x, y), {".*_binary": "binary"})
        >>> tfc.report(model)["block2_binary/kernel"].bits
        1
    """
    channels = x.shape[-1]
    y = QuantizedActivation(quantizer, name=joined(name, "sign"))(x)
    binary = keras.layers.Conv2D(
        filters,
        kernel_size,
        strides,
        padding="same",
        use_bias=False,
        name=joined(name, "binary"),
    )
    if name is None:
        binary.name += "_binary"
    y = binary(y)
    if activation is not None:
        y = keras.layers.Activation(activation, name=joined(name, "activation"))(y)
    y = keras.layers.BatchNormalization(name=joined(name, "norm"))(y)
    if strides == 2:
        x = keras.layers.AveragePooling2D(2, 2, "same", name=joined(name, "pool"))(x)
    if filters != channels:
        x = convolution(x, filters, activation=None, name=joined(name, "shortcut"))
    return keras.layers.Add(name=joined(name, "add"))([y, x])
