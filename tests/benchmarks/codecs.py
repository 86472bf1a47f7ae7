"""Speed of the codecs and of clustering."""

import itertools
import pathlib
import statistics
import time

import harness
import numpy as np

SIDE = 5000
# MB of weights per second and core.
DECODE = {"Huffman": 200, "Rans": 150}
ENCODE = {"Huffman": 20, "Rans": 20}
# Of Mixing.
ADAPTIVE_BYTES, ADAPTIVE_SPEED = 1.01, 10


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
        for codec in codecs:
            name = type(codec).__name__
            measures += _speed_of(name, kind, [codec], [symbols], rounds)
        # The slower one of them is meant for small models.
        part = symbols[: len(symbols) // 25]
        measures += _adaptive(kind, [part], rounds)
    return measures


def adaptive(options):
    """Both adaptive codecs on the kernels of a trained ResNet-20, pruned or not."""
    rounds = 1 if options.quick else options.rounds
    kernels = _kernels(options)
    measures = []
    for kind, sparsity in [("ResNet-20", 0), ("ResNet-20, 90 % zeros", 0.9)]:
        levels = [_levels(kernel, sparsity) for kernel in kernels]
        symbols = [(each + 128).astype("u1") for each in levels]
        measures += _adaptive(kind, symbols, rounds)
    return measures


def _kernels(options):
    """Kernels with outputs first, as in files."""
    if options.quick:
        random = np.random.default_rng(options.seed)
        return [random.normal(size=(8, 3, 3, 8)), random.normal(size=(10, 64))]
    import keras

    path = options.model
    if path is None and options.data_dir:
        path = pathlib.Path(options.data_dir).parent / "models/cifar10_resnet20.keras"
    if path is None:
        raise SystemExit("The row adaptive needs --model.")
    model = keras.models.load_model(path, compile=False)
    return [np.moveaxis(w.numpy(), -1, 0) for w in model.weights if w.shape[1:]]


def _levels(kernel, sparsity):
    """The weights of a pruned kernel in int8, with a scale for each channel."""
    kept = np.where(np.abs(kernel) >= np.quantile(np.abs(kernel), sparsity), kernel, 0)
    inner = tuple(range(1, kernel.ndim))
    largest = np.abs(kept).max(axis=inner, keepdims=True)
    return np.rint(kept / np.maximum(largest, 1e-9) * 127)


def _smallest(codec, symbols):
    """The codec with the better of two periods, as files choose it."""
    periods = {0, symbols.shape[-1]} if symbols.ndim > 2 else {0}
    options = [codec(128, period) for period in periods]
    return min(options, key=lambda option: len(option.encode(symbols)))


def _adaptive(kind, arrays, rounds):
    """Both adaptive codecs, and the ratios of their bytes and speeds."""
    from tfcompress import coding

    found = {}
    for codec in (coding.Mixing, coding.AdaptiveRans):
        codecs = [_smallest(codec, symbols) for symbols in arrays]
        found[codec] = _speed_of(codec.__name__, kind, codecs, arrays, rounds)
    (size, _, slow), (of_size, _, fast) = found.values()
    return [
        *itertools.chain(*found.values()),
        harness.Measure(
            f"{kind}: bytes, AdaptiveRans of Mixing",
            of_size.value / size.value,
            "x",
            at_most=ADAPTIVE_BYTES,
        ),
        harness.Measure(
            f"{kind}: decode, AdaptiveRans of Mixing",
            fast.value / slow.value,
            "x",
            at_least=ADAPTIVE_SPEED,
        ),
    ]


def _speed_of(name, kind, codecs, arrays, rounds):
    start = time.perf_counter()
    streams = [codec.encode(a) for codec, a in zip(codecs, arrays, strict=True)]
    size = sum(symbols.size for symbols in arrays)
    encoding = size / 1e6 / (time.perf_counter() - start)
    tasks, seconds = list(zip(codecs, streams, arrays, strict=True)), []
    for _ in range(rounds):
        start = time.perf_counter()
        decoded = [codec.decode(stream, a.size) for codec, stream, a in tasks]
        seconds.append(time.perf_counter() - start)
    if not all(map(np.array_equal, decoded, map(np.ravel, arrays))):
        raise AssertionError(f"{name} does not decode what it encoded.")
    decoding = size / 1e6 / statistics.median(seconds)
    share = sum(map(len, streams)) / size
    return [
        harness.Measure(f"{name}, {kind}: bytes", share, "of int8"),
        harness.Measure(
            f"{name}, {kind}: encode", encoding, "MB/s", at_least=ENCODE.get(name)
        ),
        harness.Measure(
            f"{name}, {kind}: decode", decoding, "MB/s", at_least=DECODE.get(name)
        ),
    ]


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
    parser.add_argument(
        "--model",
        help=".keras file of the row adaptive "
        "(default: DATA_DIR/../models/cifar10_resnet20.keras)",
    )


if __name__ == "__main__":
    rows = {
        "speed": speed,
        "adaptive": adaptive,
        "clustering": clustering,
    }
    harness.main(__doc__, rows, _add_options)
