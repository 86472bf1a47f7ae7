"""QuickNet, a network of binary residual blocks."""

import keras

from tfcompress.blocks.arguments import COUNT, NAME
from tfcompress.blocks.binary_residual import binary_residual
from tfcompress.blocks.convolution import convolution, depthwise, joined
from tfcompress.core.kinds import Each, Integer, OneOf, PlugIn, checked
from tfcompress.core.nouns import ActivationQuantizer

# Weights 1, 2, 1 in both directions.
_BLUR = [[[[a * b / 16]] for b in (1, 2, 1)] for a in (1, 2, 1)]


@checked
def quicknet(
    input_shape: Each(
        Integer(1) | OneOf(None), "three numbers (height, width, channels)", count=3
    ) = (224, 224, 3),
    num_classes: COUNT = 1000,
    filters: Each(COUNT, "positive integers, one per section", least=1) = (
        64,
        128,
        256,
        512,
    ),
    blocks: Each(COUNT, "positive integers, one per section", least=1) = (
        4,
        4,
        4,
        4,
    ),
    quantizer: PlugIn(ActivationQuantizer) = "sign",
    name: NAME = "quicknet",
) -> keras.Model:
    """Sections of binary 3x3 convolutions, real-valued at both ends and in between.

    - The stem: 3x3 with strides 2 to a quarter of the filters, depthwise 3x3 with strides
      2, and 1x1, each with batch norm; all real-valued.
    - A section: as many blocks as given in `blocks`, `x + norm(relu(B * sign(x)))` with a
      3x3 kernel `B` (`binary_residual`).
    - Between sections: relu, max pooling, blurring with strides 2, and 1x1 to the new
      number of filters with batch norm; real-valued. The blur is a depthwise convolution
      with the weights 1, 2, 1 in both directions, which are not trained; rules that match
      `..._blur` change them all the same.
    - The head: relu, the mean over all positions, and a real-valued dense layer.

    The kernels `B` are real until a rule makes them binary: all are called
    `..._binary`.

    Args:
        input_shape: `(height, width, channels)`; height and width may be None.
        num_classes: number of outputs, which are logits.
        filters: number of channels per section, the first a multiple of 4. The paper's
            small network has (32, 64, 256, 512). Bits are stored in 32-bit words.
        blocks: number of blocks per section. The paper's large network has (6, 8, 12, 6).
        quantizer: the sign, as in `tfc.layers.QuantizedActivation`.
        name: name of the model.

    Returns:
        A `keras.Model` of plain layers and `tfc.layers.QuantizedActivation`.

    Raises:
        ValueError: if an argument is out of range, or `filters` and `blocks` differ in
            length.

    Source: Bannink et al., "Larq Compute Engine: Design, Benchmark, and Deploy
    State-of-the-Art Binarized Neural Networks" (2021), section 5; Zhang, "Making
    Convolutional Networks Shift-Invariant Again" (2019), section 3.2, for the blur.

    Example:
        >>> model = quicknet((32, 32, 3), 10, filters=(32, 64), blocks=(1, 2))
        >>> model = tfc.compress(model, {".*_binary": "binary"})
        >>> report = tfc.report(model)
        >>> [w.name for w in report.weights if w.bits == 1 and w.macs]
        ['section1_block1_binary/kernel', 'section2_block1_binary/kernel', \
'section2_block2_binary/kernel']
        >>> report.binary_macs == 8 * 8 * 9 * 32 * 32 + 2 * 4 * 4 * 9 * 64 * 64
        True
    """
    filters, blocks = _sections(filters, blocks)
    x = inputs = keras.Input(input_shape, name="image")
    x = _stem(x, filters[0])
    for section, (width, count) in enumerate(zip(filters, blocks, strict=True), 1):
        prefix = f"section{section}"
        if section > 1:
            x = _transition(x, width, f"{prefix}_transition")
        for block in range(1, count + 1):
            x = binary_residual(
                x,
                width,
                quantizer=quantizer,
                activation="relu",
                name=f"{prefix}_block{block}",
            )
    x = keras.layers.Activation("relu", name="head_activation")(x)
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(x)
    return keras.Model(
        inputs, keras.layers.Dense(num_classes, name="head")(x), name=name
    )


def _sections(filters, blocks):
    filters, blocks = tuple(filters), tuple(blocks)
    if not filters or len(filters) != len(blocks):
        raise ValueError(
            f"quicknet(filters={filters}, blocks={blocks}): expected one number of each "
            "per section, and at least one section."
        )
    if filters[0] % 4:
        raise ValueError(
            f"quicknet(filters={filters}): expected a multiple of 4 first, since the stem "
            "starts with a quarter of it."
        )
    return filters, blocks


def _stem(x, filters):
    x = convolution(x, filters // 4, 3, strides=2, name="stem")
    x = depthwise(x, strides=2, activation=None, name="stem_depthwise")
    return convolution(x, filters, activation=None, name="stem_pointwise")


def _transition(x, filters, name):
    x = keras.layers.Activation("relu", name=joined(name, "activation"))(x)
    x = keras.layers.MaxPooling2D(2, 1, "same", name=joined(name, "pool"))(x)
    # LiteRT's fast kernels do not include int8 average pooling.
    x = keras.layers.DepthwiseConv2D(
        3,
        2,
        "same",
        use_bias=False,
        depthwise_initializer=keras.initializers.Constant(_BLUR),
        trainable=False,
        name=joined(name, "blur"),
    )(x)
    return convolution(x, filters, activation=None, name=joined(name, "pointwise"))
