"""Latency predicted from a table of operations against measured, for whole networks."""

import functools
import pathlib
import tempfile

import harness
import numpy as np

PRECISIONS = ("float32", "int8")
# Largest error in percent, for half and for 95 of 100 networks.
TARGETS = {50: 10, 95: 15}
_CALIBRATION_IMAGES = 8


def unseen(options):
    """Networks of five families and several widths."""
    files = {(f, w): PRECISIONS for f, widths in WIDTHS.items() for w in widths}
    if options.quick:
        files = {("lenet", 1): PRECISIONS}
    models = {
        f"{family} x {width}": (functools.partial(FAMILIES[family], width), precisions)
        for (family, width), precisions in files.items()
    }
    return _figures(models, options, TARGETS)


def others(options):
    """Networks that are large for the caches, or that XNNPACK does not run entirely."""
    from keras import applications

    def made(build, side):
        return functools.partial(build, weights=None, input_shape=(side, side, 3))

    models = {
        "mobilenet_v3_small": (made(applications.MobileNetV3Small, 96), PRECISIONS),
        "efficientnet_b0": (made(applications.EfficientNetB0, 64), PRECISIONS),
        "densenet_121": (made(applications.DenseNet121, 64), PRECISIONS),
        "resnet_20 x 1": (functools.partial(resnet_20, 1), ("float16", "int16x8")),
        "lenet x 2": (functools.partial(lenet, 2), ("int4", "dynamic")),
        "gru": (gru, PRECISIONS),
    }
    return _figures(models, options, dict.fromkeys(TARGETS))


def _figures(models, options, targets):
    """Errors in percent, over all networks and for each."""
    import keras

    import tfcompress as tfc

    errors, figures = [], []
    with tempfile.TemporaryDirectory() as folder:
        table = tfc.search.LatencyTable(pathlib.Path(folder) / "table.json")
        for name, (build, precisions) in models.items():
            keras.utils.set_random_seed(options.seed)
            model = build()
            for precision in precisions:
                path = pathlib.Path(folder) / "network.tflite"
                _export(model, path, precision)
                predicted, measured = _both(table, path, options)
                error = 100 * (predicted / measured - 1)
                note = f"predicted {predicted:.4f} ms, measured {measured:.4f} ms"
                harness.progress(f"{name} {precision}: {note}, {error:+.1f} %")
                errors.append(abs(error))
                label = f"{name} {precision}: error"
                figures.append(harness.Measure(label, error, "%", note=note))
    about = f"{len(errors)} networks, {_versions()}"
    return [
        *(
            harness.Measure(
                f"error, {share} of 100 networks",
                np.percentile(errors, share),
                "%",
                at_most=most,
                note=about,
            )
            for share, most in targets.items()
        ),
        harness.Measure("operations in the table", len(table) - 1),
        *figures,
    ]


def _both(table, path, options):
    """Predicted milliseconds, and the smallest median of those measured before and after.

    Other work on the machine can only increase them, and the table uses the smallest, too.
    """
    rounds = 1 if options.quick else options.rounds
    medians = [harness.benchmark(path, options.quick).median_ms]
    predicted = table.predict(path)
    for _ in range(rounds - 1):
        medians.append(harness.benchmark(path, options.quick).median_ms)
    return predicted, min(medians)


def _export(model, path, precision):
    import tfcompress as tfc

    shape = (_CALIBRATION_IMAGES, *model.input_shape[1:])
    images = np.random.default_rng(0).normal(size=shape).astype("float32")
    samples = images if precision.startswith("int") else None
    tfc.export_tflite(model, path, precision, samples=samples, verify=False)


def _versions():
    import importlib.metadata

    version = importlib.metadata.version
    return f"one thread, ai-edge-litert {version('ai-edge-litert')}, random weights"


def mobilenet_v2(width, size=96):
    """MobileNetV2, with explicit zero padding before its strided first convolution."""
    import keras

    import tfcompress as tfc

    def channels(count):
        return max(8, round(count * width / 8) * 8)

    x = keras.Input((size, size, 3))
    y = keras.layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    y = _convolution(y, channels(32), 3, 2, "relu6", "valid")
    for expansion, count, blocks, strides in _MOBILENET_V2:
        for block in range(blocks):
            y = tfc.blocks.inverted_residual(
                y, channels(count), expansion, strides=1 if block else strides
            )
    y = _convolution(y, 1280, 1, 1, "relu6")
    y = keras.layers.GlobalAveragePooling2D()(y)
    return keras.Model(x, keras.layers.Dense(100, activation="softmax")(y))


# Table 2 of its paper.
_MOBILENET_V2 = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


def resnet_20(width):
    """ResNet-20 with 1x1 convolutions as shortcuts."""
    import keras

    x = keras.Input((32, 32, 3))
    y = _convolution(x, round(16 * width))
    for stage in range(3):
        count = round(16 * width) << stage
        for block in range(3):
            strides = 2 if stage and not block else 1
            z = _convolution(y, count, strides=strides)
            z = _convolution(z, count, activation=None)
            if strides == 2:
                y = _convolution(y, count, 1, 2, None)
            y = keras.layers.ReLU()(keras.layers.Add()([y, z]))
    y = keras.layers.GlobalAveragePooling2D()(y)
    return keras.Model(x, keras.layers.Dense(10)(y))


def lenet(width):
    """LeNet-5 with ReLU and max pooling."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(round(6 * width), 5, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(round(16 * width), 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(round(120 * width), activation="relu"),
            layers.Dense(round(84 * width), activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def ds_cnn(width):
    """DS-CNN, which recognizes words in 49 x 10 sound coefficients."""
    import keras

    count = round(64 * width)
    x = keras.Input((49, 10, 1))
    y = _convolution(x, count, (10, 4), 2)
    for _ in range(4):
        y = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y)
        y = keras.layers.ReLU()(keras.layers.BatchNormalization()(y))
        y = _convolution(y, count, 1)
    y = keras.layers.GlobalAveragePooling2D()(y)
    return keras.Model(x, keras.layers.Dense(12, activation="softmax")(y))


def vgg(width):
    """Ten 3x3 convolutions in four stages, and two dense layers."""
    import keras

    layers, base = keras.layers, round(64 * width)
    x = y = keras.Input((32, 32, 3))
    for stage, blocks in enumerate((2, 2, 3, 3)):
        for _ in range(blocks):
            y = _convolution(y, base << stage)
        y = layers.MaxPooling2D()(y)
    y = layers.Dense(16 * base, activation="relu")(layers.Flatten()(y))
    return keras.Model(x, layers.Dense(10)(y))


def gru():
    """A loop with built-in kernels as operations."""
    import keras

    x = keras.Input((20, 8))
    return keras.Model(x, keras.layers.Dense(3)(keras.layers.GRU(16)(x)))


def _convolution(x, count, kernel_size=3, strides=1, activation="relu", padding="same"):
    from keras import layers

    convolution = layers.Conv2D(
        count, kernel_size, strides=strides, padding=padding, use_bias=False
    )
    y = layers.BatchNormalization()(convolution(x))
    return layers.Activation(activation)(y) if activation else y


FAMILIES = {
    "mobilenet_v2": mobilenet_v2,
    "resnet_20": resnet_20,
    "lenet": lenet,
    "ds_cnn": ds_cnn,
    "vgg": vgg,
}
WIDTHS = {
    "mobilenet_v2": (0.35, 0.6, 1),
    "resnet_20": (0.5, 1, 1.75),
    "lenet": (1, 2, 3),
    "ds_cnn": (0.75, 1, 2.7),
    "vgg": (0.25, 0.4, 0.6),
}


def _add_options(parser):
    parser.add_argument("--rounds", type=int, default=3, help="measurements per file")


if __name__ == "__main__":
    harness.main(
        __doc__, {"unseen": unseen, "others": others}, _add_options, quick=["unseen"]
    )
