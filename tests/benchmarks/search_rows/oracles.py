"""Whether MACs are counted as in publications of networks."""

from harness import Measure

# First convolution, then two in each of nine blocks.
_TAS = (16, 6, 4, 4, 4, 4, 4, 32, 32, 12, 19, 32, 28, 64, 64, 64, 64, 64, 44)
_AMC = (24, 48, 96, 80, 192, 200, 328, 352, 368, 360, 328, 400, 736, 752)
_MOBILENET = (32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


def oracles(lab):
    """The ResNet-20 of Dong & Yang (2019), and the MobileNet of He et al. (2018)."""
    tas = lab.tfc.report(_resnet(lab.keras, _TAS)).macs
    small, whole = (
        lab.tfc.report(_mobilenet(lab.keras, widths)).macs
        for widths in (_AMC, _MOBILENET)
    )
    return [
        Measure("TAS ResNet-20", tas / 1e6, "M", paper=22.44),
        Measure(
            "TAS ResNet-20, off by", abs(round(tas / 1e6, 2) - 22.44), "M", at_most=0
        ),
        Measure(
            "AMC MobileNet",
            small / whole,
            paper=0.5,
            note="293.87 of 568.74 M by hand, for the published widths",
        ),
        Measure("AMC MobileNet, off by", abs(small / whole - 0.5), at_most=0.005),
    ]


def _resnet(keras, widths):
    """Shortcuts are 1x1 convolutions if widths differ or the map is halved."""
    layers, x = keras.layers, keras.Input((32, 32, 3))
    y = layers.Conv2D(widths[0], 3, padding="same", use_bias=False)(x)
    for block in range(9):
        first, second = widths[1 + 2 * block : 3 + 2 * block]
        strides = 2 if block in (3, 6) else 1
        z = layers.Conv2D(first, 3, strides=strides, padding="same", use_bias=False)(y)
        z = layers.Conv2D(second, 3, padding="same", use_bias=False)(z)
        if strides == 2 or y.shape[-1] != second:
            y = layers.AveragePooling2D(strides)(y)
            y = layers.Conv2D(second, 1, use_bias=False)(y)
        y = layers.Add()([y, z])
    y = layers.GlobalAveragePooling2D()(y)
    return keras.Model(x, layers.Dense(10)(y))


def _mobilenet(keras, widths):
    layers, x = keras.layers, keras.Input((224, 224, 3))
    y = layers.Conv2D(widths[0], 3, strides=2, padding="same", use_bias=False)(x)
    for width, strides in zip(widths[1:], _STRIDES, strict=True):
        y = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(
            y
        )
        y = layers.Conv2D(width, 1, use_bias=False)(y)
    y = layers.GlobalAveragePooling2D()(y)
    return keras.Model(x, layers.Dense(1000)(y))


ROWS = {"oracles": oracles}
