"""Dense layers in float32 files: 1x4 blocks of zeros against no zeros."""

import pathlib
import tempfile

import harness
import numpy as np

INPUTS, UNITS, QUICK_UNITS = 784, (1024, 1024, 10), (64, 10)
# Sparsity: limits of bytes and time, relative to the dense file.
TARGETS = {0.8: (None, None), 0.9: (0.25, 0.5)}
# Error of outputs against Keras, as a share of the largest output.
LARGEST_ERROR = 1e-5
_BATCH_SIZE = 64


def build(keras, is_quick=False):
    """A fully connected network of 1.9 million parameters."""
    *hidden, outputs = QUICK_UNITS if is_quick else UNITS
    layers = [keras.layers.Dense(units, activation="relu") for units in hidden]
    return keras.Sequential(
        [keras.Input((INPUTS,)), *layers, keras.layers.Dense(outputs)]
    )


def prune(model, sparsity):
    """The network without its smallest blocks of 4 inputs of a neuron."""
    import tfcompress as tfc

    pruning = tfc.callbacks.Pruning(
        tfc.schedules.Constant(sparsity), pattern=tfc.patterns.Block(4, 1)
    )
    masked = tfc.compress(model, {".*": tfc.transforms.Mask()})
    masked.compile("sgd", "mse")
    x, y = np.zeros((1, INPUTS)), np.zeros((1, UNITS[-1]))
    masked.fit(x, y, verbose=0, callbacks=[pruning])
    return tfc.strip(masked)


def measure(options):
    """All figures of all files."""
    import keras

    import tfcompress as tfc

    keras.utils.set_random_seed(options.seed)
    dense = build(keras, options.quick)
    models = {"dense": dense, **{_label(s): prune(dense, s) for s in TARGETS}}
    with tempfile.TemporaryDirectory() as folder:
        paths = {n: pathlib.Path(folder) / f"{i}.tflite" for i, n in enumerate(models)}
        for name, model in models.items():
            tfc.export_tflite(model, paths[name])
        times = time_files(paths, options)
        errors = {n: error(models[n], path, options.seed) for n, path in paths.items()}
        return [
            *(m for s in TARGETS for m in _compare(s, paths, times, errors)),
            *(m for item in paths.items() for m in _describe(*item, options.quick)),
        ]


def time_files(paths, options):
    """`{name: seconds of each round}`, one thread, with files taking turns."""
    repeats, rounds = (1, 1) if options.quick else (options.repeats, options.rounds)
    variants = {name: _runner(path, repeats) for name, path in paths.items()}
    return harness.interleaved(variants, rounds)


def _runner(path, repeats):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (detail,) = interpreter.get_input_details()
    x = np.random.default_rng(0).normal(size=detail["shape"])
    interpreter.set_tensor(detail["index"], x.astype("float32"))

    def run():
        for _ in range(repeats):
            interpreter.invoke()

    return run


def error(model, path, seed):
    """Largest difference from Keras as a share of the largest output."""
    import tfcompress as tfc

    x = np.random.default_rng(seed).normal(size=(_BATCH_SIZE, INPUTS))
    x = x.astype("float32")
    expected = model.predict(x, verbose=0)
    with tfc.Interpreter(path) as interpreter:
        difference = np.abs(interpreter.run(x) - expected).max()
    return float(difference / np.abs(expected).max())


def _label(sparsity):
    return f"{sparsity:.0%} zeros"


def _compare(sparsity, paths, times, errors):
    name, (bytes_limit, time_limit) = _label(sparsity), TARGETS[sparsity]
    size = paths[name].stat().st_size / paths["dense"].stat().st_size
    latency = harness.ratio(times[name], times["dense"])
    return [
        harness.Measure(f"{name}: size, of dense", size, "x", at_most=bytes_limit),
        harness.Measure(f"{name}: latency, of dense", latency, "x", at_most=time_limit),
        harness.Measure(f"{name}: error", errors[name], at_most=LARGEST_ERROR),
    ]


def _describe(name, path, is_quick):
    figures = harness.benchmark(path, is_quick)
    megabytes = figures.peak_memory_bytes / 2**20
    return [
        harness.Measure(f"{name}: size", figures.size_bytes, "bytes"),
        harness.Measure(f"{name}: latency", figures.median_ms, "ms"),
        harness.Measure(f"{name}: load time", figures.init_ms, "ms"),
        harness.Measure(f"{name}: memory", megabytes, "MB"),
    ]


def _add_options(parser):
    parser.add_argument("--repeats", type=int, default=20, help="runs per round")
    parser.add_argument("--rounds", type=int, default=101, help="timed rounds")


if __name__ == "__main__":
    harness.main(__doc__, {"blocks_1x4": measure}, _add_options)
