"""Speed of the codecs and of clustering, and the cost of encoded weights when a file is
loaded and run.
"""

import pathlib
import statistics
import tempfile
import time

import harness
import numpy as np

SIDE = 5000
WIDTH, NUM_LAYERS = 2048, 6
# MB of weights per second and core.
DECODE = {"Huffman": 200, "Rans": 150}
ENCODE = {"Huffman": 20, "Rans": 20}
LOAD_SECONDS = 0.3
LATENCY_RATIO = 1.02


def weights(side, seed):
    """int8 weights as symbols: neurons with different spreads; the same with 90 % zeros."""
    generator = np.random.default_rng(seed)
    spread = generator.uniform(8, 35, (side, 1))
    levels = np.clip(np.rint(generator.normal(size=(side, side)) * spread), -127, 127)
    pruned = np.where(np.abs(levels) > 1.645 * spread, levels, 0)
    return {
        "dense": (levels + 128).astype("u1"),
        "90 % zeros": (pruned + 128).astype("u1"),
    }


def speed(options):
    """Megabytes per second of each codec."""
    from tfcompress import coding

    rounds = 1 if options.quick else options.rounds
    measures = []
    for kind, symbols in weights(100 if options.quick else SIDE, options.seed).items():
        codecs = [coding.BitPack(), coding.Huffman(), coding.Rans()]
        for codec in [*codecs, coding.Mixing(zero=128)]:
            name = type(codec).__name__
            # The adaptive codec is meant for small models.
            part = symbols[: len(symbols) // 25] if name == "Mixing" else symbols
            measures += _speed_of(name, kind, codec, part, rounds)
    return measures


def _speed_of(name, kind, codec, symbols, rounds):
    start = time.perf_counter()
    stream = codec.encode(symbols)
    encoding = symbols.size / 1e6 / (time.perf_counter() - start)
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        decoded = codec.decode(stream, symbols.size)
        seconds.append(time.perf_counter() - start)
    if not np.array_equal(decoded, symbols.ravel()):
        raise AssertionError(f"{name} does not decode what it encoded.")
    decoding = symbols.size / 1e6 / statistics.median(seconds)
    share = len(stream) / symbols.size
    return [
        harness.Measure(f"{name}, {kind}: bytes", share, "of int8"),
        harness.Measure(
            f"{name}, {kind}: encode", encoding, "MB/s", at_least=ENCODE.get(name)
        ),
        harness.Measure(
            f"{name}, {kind}: decode", decoding, "MB/s", at_least=DECODE.get(name)
        ),
    ]


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


def clustering(options):
    """Exact k-means in one dimension, and the excess error of restarted Lloyd's."""
    import sklearn.cluster

    from tfcompress.transforms.clustering import optimal_clusters

    generator = np.random.default_rng(options.seed)
    points = generator.normal(size=2000 if options.quick else SIDE**2)
    points = points.astype("float32")
    start = time.perf_counter()
    optimal_clusters(points, 256)
    seconds = time.perf_counter() - start
    few = points[:200_000]
    values, assignments = optimal_clusters(few, 32)
    least = np.sum(np.square(few - values[assignments], dtype="float64"))
    restarts = 1 if options.quick else 20
    lloyd = sklearn.cluster.KMeans(32, n_init=restarts, random_state=options.seed)
    found = lloyd.fit(few[:, None].astype("float64")).inertia_
    return [
        harness.Measure("25 million into 256", seconds, "s", at_most=10.0),
        harness.Measure(
            "200,000 into 32: error of KMeans, of ours",
            found / least,
            "x",
            at_least=1.0,
        ),
    ]


def _add_options(parser):
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds")


if __name__ == "__main__":
    harness.main(
        __doc__, {"speed": speed, "load": load, "clustering": clustering}, _add_options
    )
