"""Time and memory that pruning takes, relative to plain training on the same machine."""

import contextlib
import functools
import gc
import itertools
import os
import pathlib
import statistics
import threading
import time

import harness
import step_time_task as task

_SPARSITY = 0.9
_SIDE, _QUICK_SIDE, _NUM_LAYERS = 2500, 50, 4
_NETWORK = "cnn_28x28x1"
# GraSP also needs a second derivative, and is meant for one batch.
_GRADIENT_CRITERIA = {
    "gradient": 1.3,
    "snip": 1.3,
    "taylor": 1.3,
    "taylor_gate": 1.3,
    "grasp": None,
}


def masks(options):
    """Global magnitude over 25 million weights."""
    import keras

    import tfcompress as tfc

    side = _QUICK_SIDE if options.quick else _SIDE
    layers = [keras.layers.Dense(side, use_bias=False) for _ in range(_NUM_LAYERS)]
    model = keras.Sequential([keras.Input((side,)), *layers])
    model = tfc.compress(model, {".*": "mask"})
    pruning = tfc.callbacks.Pruning(_SPARSITY, scope="global")
    pruning.set_model(model)
    times, memory = [], []
    pruning.prune(_SPARSITY)
    for _ in range(1 if options.quick else options.rounds):
        with _extra_memory() as extra:
            start = time.perf_counter()
            pruning.prune(_SPARSITY)
            times.append(time.perf_counter() - start)
        memory.append(extra[0])
    size = 4 * _NUM_LAYERS * side**2
    name = f"{_NUM_LAYERS * side**2 / 1e6:.3g} million weights, global, {_SPARSITY:.0%}"
    return [
        harness.Measure(name, statistics.median(times), "s", at_most=1.5),
        harness.Measure(
            f"{name}: extra memory, of that of the weights",
            max(memory) / size,
            at_most=2.0,
        ),
    ]


@contextlib.contextmanager
def _extra_memory():
    """Yields a list that on exit contains the number of bytes by which the process grew."""
    gc.collect()
    before, peak, is_over = _resident_bytes(), [0], threading.Event()

    def watch():
        while not is_over.wait(0.001):
            peak[0] = max(peak[0], _resident_bytes() - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        is_over.set()
        thread.join()


def _resident_bytes():
    pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def gradients(options):
    """`tfc.prune` with criteria that need gradients, against an epoch on the same data."""
    import keras

    import tfcompress as tfc

    keras.utils.set_random_seed(options.seed)
    steps = 1 if options.quick else options.steps
    model = task.build(keras, _NETWORK)
    data = task.data(_NETWORK, steps, options.seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    variants = {
        name: functools.partial(tfc.prune, model, 0.5, name, data=data)
        for name in _GRADIENT_CRITERIA
    }
    variants["epoch"] = functools.partial(model.fit, data, verbose=0)
    times = harness.interleaved(variants, 1 if options.quick else options.rounds)
    return [
        harness.Measure(
            f"{name}, of an epoch",
            harness.ratio(times[name], times["epoch"]),
            at_most=most,
        )
        for name, most in _GRADIENT_CRITERIA.items()
    ]


def training(options):
    """Steps of a model with masks against those of the plain one."""
    import keras

    import tfcompress as tfc

    keras.utils.set_random_seed(options.seed)
    steps = 1 if options.quick else options.steps

    def epoch(model, *callbacks):
        return task.epoch_of(keras, model, _NETWORK, steps, options.seed, callbacks)

    def masked():
        return tfc.compress(task.build(keras, _NETWORK), {".*": "mask"})

    variants = {
        "plain": epoch(task.build(keras, _NETWORK)),
        "masks": epoch(masked(), tfc.callbacks.Pruning(_SPARSITY)),
    }
    times = harness.interleaved(variants, 1 if options.quick else options.rounds)
    return [
        harness.Measure(
            "steps with masks, of plain ones",
            harness.ratio(times["masks"], times["plain"]),
            at_most=1.05,
        )
    ]


def exchanges(options):
    """Epochs with weights exchanged every 100 steps, relative to epochs without masks.

    Timed within one training each, since capturing gradients has its own training step,
    which is traced once.
    """
    import keras

    import tfcompress as tfc

    keras.utils.set_random_seed(options.seed)
    steps = 1 if options.quick else options.steps
    data = task.data(_NETWORK, steps, options.seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rounds = 1 if options.quick else options.rounds

    def epochs(*callbacks):
        model = task.build(keras, _NETWORK)
        if callbacks:
            model = tfc.compress(model, {".*": "mask"})
        model.compile("adam", loss)
        starts = []
        clock = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: starts.append(time.perf_counter())
        )
        # Tracing happens in the first epoch, and the last one does not end here.
        model.fit(
            data,
            epochs=rounds + 2,
            shuffle=False,
            verbose=0,
            callbacks=[*callbacks, clock],
        )
        return [end - start for start, end in itertools.pairwise(starts)][1:]

    always = {"frequency": 100, "end_step": (rounds + 2) * steps + 1}
    plain = epochs()
    return [
        harness.Measure(
            f"steps with {method.__name__}, of plain ones",
            harness.ratio(epochs(method(_SPARSITY, **always)), plain),
            at_most=1.1,
        )
        for method in harness.some((tfc.callbacks.SET, tfc.callbacks.RigL), options)
    ]


def solvers(options):
    """Half the weights of the widest layer of a ResNet-20, 64 filters of 3x3x64."""
    import numpy as np

    import tfcompress as tfc

    generator = np.random.default_rng(options.seed)
    size, outputs = (24, 4) if options.quick else (576, 64)
    x = generator.normal(size=(4 * size, size)) @ generator.normal(size=(size, size))
    moments = (x.T @ x / len(x))[None]
    inputs = tfc.post_training.Inputs(None, None, moments, moments)
    weight = generator.normal(size=(1, size, outputs))
    pattern = tfc.solvers.MatrixPattern(tfc.patterns.Weight(), weight.shape[1:])
    variants = {
        solver.__name__: functools.partial(
            solver(), weight, weight.size // 2, pattern, inputs
        )
        for solver in (tfc.solvers.OBS, tfc.solvers.SparseGPT)
    }
    times = harness.interleaved(variants, 1 if options.quick else options.rounds)
    return [
        harness.Measure(
            f"{name}, {outputs} x {size}", statistics.median(times[name]), "s"
        )
        for name in variants
    ]


# Other costs get a row here.
ROWS = {
    "masks": masks,
    "gradients": gradients,
    "training": training,
    "exchanges": exchanges,
    "solvers": solvers,
}


def _add_options(parser):
    parser.add_argument("--steps", type=int, default=300, help="steps per epoch")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds")


if __name__ == "__main__":
    harness.main(__doc__, ROWS, _add_options)
