"""How long it takes to export files, to load encoded ones, and to round weights."""

import contextlib
import pathlib
import statistics
import tempfile
import time

import harness
import numpy as np

WIDTH, NUM_LAYERS = 2048, 6
LOAD_SECONDS = 0.3
LATENCY_RATIO = 1.02
# Of an int8 file of MobileNetV2, with the check of its outputs.
EXPORT_SECONDS = 6
ROUND_SECONDS = 90
_NUM_SAMPLES = 64
_BLOCKS = 5  # per stage: a ResNet-32


def load(options):
    """Seconds to load, and latency, of an int8 file of 25 million weights."""
    import keras

    import tfcompress as tfc

    width, rounds = (32, 1) if options.quick else (WIDTH, options.rounds)
    keras.utils.set_random_seed(options.seed)
    layers = [
        keras.layers.Dense(
            width,
            activation="relu",
            kernel_initializer=keras.initializers.RandomNormal(stddev=width**-0.5),
        )
        for _ in range(NUM_LAYERS)
    ]
    model = keras.Sequential([keras.Input((width,)), *layers])
    x = np.random.default_rng(options.seed).normal(size=(64, width)).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        files, measures = {}, []
        for codec in (None, "huffman", "rans", "auto"):
            path = pathlib.Path(folder) / f"{codec}.tflite"
            result = tfc.export_tflite(model, path, "int8", samples=x, codec=codec)
            measures.append(
                harness.Measure(f"{codec}: size", result.size_bytes, "bytes")
            )
            measures.append(harness.Measure(f"{codec}: export", result.seconds, "s"))
            files[str(codec)] = path.read_bytes()
        loads = harness.interleaved(
            {
                name: lambda content=c: tfc.Interpreter(content)
                for name, c in files.items()
            },
            rounds,
        )
        runs = _latencies(files, x, rounds)
    plain = loads.pop("None")
    measures.append(harness.Measure("plain: load", statistics.median(plain), "s"))
    for name, seconds in loads.items():
        more = statistics.median(a - b for a, b in zip(seconds, plain, strict=True))
        latency = harness.ratio(runs[name], runs["None"])
        measures += [
            harness.Measure(
                f"{name}: load, beyond plain", more, "s", at_most=LOAD_SECONDS
            ),
            harness.Measure(
                f"{name}: latency, of plain", latency, "x", at_most=LATENCY_RATIO
            ),
        ]
    return measures


def _latencies(files, x, rounds):
    import tfcompress as tfc

    interpreters = {name: tfc.Interpreter(content) for name, content in files.items()}
    outputs = {name: each.run(x[:1]) for name, each in interpreters.items()}
    for name, output in outputs.items():
        if not np.array_equal(output, outputs["None"]):
            raise AssertionError(f"The {name} file computes something else.")
    run = {
        name: lambda each=each: [each.run(x[:1]) for _ in range(5)]
        for name, each in interpreters.items()
    }
    return harness.interleaved(run, 10 * rounds)


def export(options):
    """Seconds to export a MobileNetV2, with the check of the file."""
    import keras

    import tfcompress as tfc

    size, alpha = (96, 0.35) if options.quick else (224, 1.0)
    keras.utils.set_random_seed(options.seed)
    model = keras.applications.MobileNetV2(
        (size, size, 3), alpha, weights=None, classifier_activation=None
    )
    x = images(size, 8 if options.quick else _NUM_SAMPLES, options.seed)
    # With untrained statistics, the outputs vanish.
    model = tfc.rewrites.recalibrate_batch_norm(model, [x[:16]])
    limits = {"float32": None, "int8": EXPORT_SECONDS}
    seconds = {precision: [] for precision in limits}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(1 if options.quick else 3):
            for precision in limits:
                path, start = pathlib.Path(folder) / "model.tflite", time.perf_counter()
                # In int8, an untrained network is mostly noise: the check refuses it.
                with contextlib.suppress(tfc.export.VerificationError):
                    tfc.export_tflite(model, path, precision, samples=x)
                seconds[precision].append(time.perf_counter() - start)
    return [
        harness.Measure(name, statistics.median(seconds[name]), "s", at_most=limit)
        for name, limit in limits.items()
    ]


def ada_round(options):
    """Seconds to round the weights of a ResNet-32 to 4 bits by AdaRound."""
    import keras

    import tfcompress as tfc

    keras.utils.set_random_seed(options.seed)
    model = resnet(keras, blocks=1 if options.quick else _BLOCKS)
    x = images(32, 16 if options.quick else 1024, options.seed)
    rounding = {"ada_round": {"iterations": 10}} if options.quick else "ada_round"
    start = time.perf_counter()
    tfc.quantize_weights(model, 4, x, rounding)
    seconds = time.perf_counter() - start
    return [harness.Measure("4 bits, AdaRound", seconds, "s", at_most=ROUND_SECONDS)]


def resnet(keras, blocks):
    """An untrained ResNet for images of 32 x 32 pixels."""
    layers = keras.layers

    def convolution(x, filters, strides=1):
        x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    x = inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(convolution(x, 16))
    for filters in (16, 32, 64):
        for block in range(blocks):
            strides = 2 if filters > 16 and block == 0 else 1
            y = layers.ReLU()(convolution(x, filters, strides))
            y = convolution(y, filters)
            if strides > 1:
                x = layers.Conv2D(filters, 1, strides)(x)
            x = layers.ReLU()(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def images(size, count, seed):
    """Smooth random images: those of pure noise look alike to a network."""
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(-1, 1, (count, 4, 4, 3))
    return np.kron(coarse, np.ones((1, size // 4, size // 4, 1))).astype("float32")


def _add_options(parser):
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds")


if __name__ == "__main__":
    rows = {"load": load, "export": export, "ada_round": ada_round}
    harness.main(__doc__, rows, _add_options, quick=["load"])
