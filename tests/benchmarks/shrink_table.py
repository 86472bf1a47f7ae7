"""Every model of keras.applications and three of our own, at half the channels."""

import concurrent.futures
import faulthandler
import functools
import gc
import math
import multiprocessing
import os
import pathlib
import statistics
import sys
import tempfile
import time
import traceback

import harness
import numpy as np

RATIO = 0.5
# Models whose latency must follow their MACs, and how far it may lag; in int8, with groups
# that are cut to whole tiles of the kernels.
TIMED = ("EfficientNetB0", "MobileNetV2", "ResNet50", "VGG16")
_LAG, _LAG_OF_TILES = 1.25, 1.3
# The row of single kernels: positions and channels of a 1x1 convolution.
_POSITIONS, _CHANNELS = 14 * 14, (16, 24, 32, 48, 64, 96, 128, 192, 256, 384)
_OUR_OWN = ("small_vit", "lstm", "unet")
# What --quick runs; the size of other models that are requested with it.
_QUICK = ("unet", "all")
_QUICK_SIZE = 96
_QUICK_ARGUMENTS = {"unet": {"size": 16, "depth": 1}}
# The size of the models that take images of any size.
_SIZE = 224
_NUM_SAMPLES = 4
_GRAPH_SECONDS = 5
# How long latency is measured: for models in TIMED, for others, and with --quick.
_SECONDS = {True: 20.0, False: 3.0}
_QUICK_SECONDS = 0.2
_LEAST_ROUNDS, _MOST_ROUNDS = 5, 200
_BURST_SECONDS = 0.03


def application_names():
    """Names of all constructors in keras.applications."""
    import keras

    names = (name for name in dir(keras.applications) if name[0].isupper())
    return sorted(name for name in names if callable(getattr(keras.applications, name)))


def build(name, is_quick):
    """An untrained model that returns logits."""
    import keras

    if name in _OUR_OWN:
        sys.path.append(str(harness.FOLDER.parent.parent))
        from tests import zoo

        arguments = _QUICK_ARGUMENTS.get(name, {}) if is_quick else {}
        return getattr(zoo, name)(**arguments)
    constructor = getattr(keras.applications, name)
    logits = functools.partial(constructor, weights=None, classifier_activation=None)
    if is_quick:
        return logits(input_shape=(_QUICK_SIZE, _QUICK_SIZE, 3))
    model = logits()
    if None in model.input_shape[1:]:
        return logits(input_shape=(_SIZE, _SIZE, 3))
    return model


class Trial:
    """Takes one model through everything that a user does with it.

    Attributes:
        measures: the figures so far.
    """

    def __init__(self, name, is_quick, seed):
        import keras

        import tfcompress as tfc

        self.keras, self.tfc = keras, tfc
        self.name, self.is_quick = name, is_quick
        self.measures = []
        self.files = {}
        self.sizes = {}
        self._refusal = None
        self._generator = np.random.default_rng(seed)
        keras.utils.set_random_seed(seed)

    def run(self, folder):
        """Runs all steps; returns what went wrong in the one that failed, or None."""
        self.folder = folder
        steps = (
            self.build,
            self.follow,
            self.keep_all,
            self.cut,
            self.count,
            self.export,
            self.reload,
            self.train,
            self.time,
        )
        for step in steps:
            try:
                step()
            except Exception:  # A failure is a result of this table.
                return f"{step.__name__}: {traceback.format_exc()}"
            gc.collect()
        return self._refusal

    def add(self, measure, value, unit="", **limits):
        """Records a figure."""
        self.measures.append(harness.Measure(measure, value, unit, **limits))

    def build(self):
        """The model and inputs for it."""
        self.model = build(self.name, self.is_quick)
        self.samples = self._inputs(_NUM_SAMPLES)
        # With untrained statistics the outputs of a deep model vanish, and then any two
        # models agree.
        self.model = self.tfc.rewrites.recalibrate_batch_norm(
            self.model, [self.samples]
        )

    def _inputs(self, count):
        """Words for text models, pixels for models that scale them, otherwise noise."""
        tensor, shape = self.model.inputs[0], (count, *self.model.input_shape[1:])
        if not self.keras.backend.is_float_dtype(tensor.dtype):
            limit = self.model.layers[1].input_dim
            return self._generator.integers(0, limit, shape).astype("int32")
        takes_pixels = any(
            isinstance(layer, self.keras.layers.Rescaling)
            for layer in self.model.layers
        )
        low, high = (0, 255) if takes_pixels else (-1, 1)
        return self._generator.uniform(low, high, shape).astype("float32")

    def follow(self):
        """The time needed to find what must be cut together."""
        groups = self.tfc.channel_groups(self.model)
        self.add("graph", groups.seconds, "s", at_most=_GRAPH_SECONDS)
        reasons = set(groups.unfollowed.values())
        whole = sum(group.size for group in groups if group.whole in reasons)
        self.add("operations not followed", len(groups.unfollowed))
        self.add("channels left whole by them", whole)

    def keep_all(self):
        """At ratio 0 nothing may change."""
        same = self.tfc.prune_channels(self.model, ratio=0)
        outputs = (self._outputs(model) for model in (self.model, same))
        self.add("largest difference at ratio 0", _difference(*outputs), at_most=0)

    def cut(self):
        """The smaller model, which runs."""
        start = time.perf_counter()
        self.small = self.tfc.prune_channels(
            self.model, ratio=RATIO, data=[self.samples]
        )
        self.add("prune_channels", time.perf_counter() - start, "s")
        _check_finite(self._outputs(self.small))
        self.tiled = None
        if self.name in TIMED:
            self.tiled = self.tfc.prune_channels(
                self.model, ratio=RATIO, round_to="auto", data=[self.samples]
            )

    def count(self):
        """Parameters and MACs."""
        from tfcompress.core.macs import macs

        models = {"before": self.model, "after": self.small, "whole tiles": self.tiled}
        for label, model in models.items():
            if model is None:
                continue
            self.sizes[label] = sum(macs(model).values())
            self.add(f"parameters {label}", model.count_params())
            self.add(f"MACs {label}", self.sizes[label])

    def export(self):
        """Files of both models; those of the smaller one are compared with Keras."""
        precisions = ("float32", "int8") if self.name in TIMED else ("float32",)
        for precision in precisions:
            self._write("before", self.model, precision, verify=False)
        del self.model
        gc.collect()
        for precision in ("float32", "int8"):
            self._write("after", self.small, precision, verify=True)
        if self.tiled is not None:
            self._write("whole tiles", self.tiled, "int8", verify=True)
        del self.tiled

    def _write(self, label, model, precision, verify):
        path = self.folder / f"{label}_{precision}.tflite"
        export = functools.partial(
            self.tfc.export_tflite, model, path, precision, samples=self.samples
        )
        start = time.perf_counter()
        try:
            export(verify=verify)
        except self.tfc.export.VerificationError as error:
            # What the check refuses does not work, but its speed is of interest.
            self._refusal = f"export: {error}"
            start = time.perf_counter()
            export(verify=False)
        self.files[label, precision] = path
        if label == "after":
            self.add(f"{precision}: export", time.perf_counter() - start, "s")
            self.add(f"{precision}: size", path.stat().st_size, "bytes")

    def reload(self):
        """The smaller model from its file."""
        expected, path = self._outputs(self.small), self.folder / "small.keras"
        self.small.save(path)
        self.small = self.keras.models.load_model(path)
        path.unlink()
        difference = _difference(expected, self._outputs(self.small))
        self.add("largest difference after reloading", difference, at_most=0)

    def train(self):
        """One step of gradient descent."""
        x = self.samples[:2]
        labels = np.zeros((len(x), *self.small.output_shape[1:-1]), "int32")
        loss = self.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        # Tracing a graph takes longer than the step.
        self.small.compile("sgd", loss, run_eagerly=True)
        before = [v.numpy() for v in self.small.trainable_variables[-2:]]
        _check_finite(self.small.train_on_batch(x, labels))
        after = self.small.trainable_variables[-2:]
        if all(np.array_equal(*pair) for pair in zip(before, after, strict=True)):
            raise RuntimeError("The step changed nothing.")
        del self.small

    def time(self):
        """Latency of both models, run in turns."""
        for label in ("after", "whole tiles"):
            if label in self.sizes:
                work = self.sizes[label] / self.sizes["before"]
                self.add(f"MACs, {label} over before", work)
        for precision in ("float32", "int8"):
            if ("before", precision) in self.files:
                self._time(precision)

    def _time(self, precision):
        bursts, rounds = self._bursts(precision)
        variants = {label: burst for label, (burst, _) in bursts.items()}
        times = {
            label: [burst / bursts[label][1] for burst in seconds]
            for label, seconds in harness.interleaved(variants, rounds).items()
        }
        for label, seconds in times.items():
            median = statistics.median(seconds)
            self.add(f"{precision}: latency {label}", 1e3 * median, "ms")
        for label in [label for label in times if label != "before"]:
            latency = harness.ratio(times[label], times["before"])
            lag = latency * self.sizes["before"] / self.sizes[label]
            limit = _LAG_OF_TILES if label == "whole tiles" else _LAG
            limits = {"at_most": limit} if self.name in TIMED else {}
            self.add(f"{precision}: latency, {label} over before", latency)
            self.add(
                f"{precision}: latency ratio over MACs ratio, {label}", lag, **limits
            )

    def _bursts(self, precision):
        """`{label: (function, runs per call)}`, and how often to time them.

        In a burst of runs, a small model finds its weights in the cache, as in real use.
        """
        bursts, total = {}, 0.0
        files = {
            label: path for (label, p), path in self.files.items() if p == precision
        }
        for label, path in files.items():
            run = _loaded(path)
            run()
            start = time.perf_counter()
            run()
            seconds = time.perf_counter() - start
            number = max(1, math.ceil(_BURST_SECONDS / seconds))
            total += number * seconds
            bursts[label] = functools.partial(_repeat, run, number), number
        budget = _QUICK_SECONDS if self.is_quick else _SECONDS[self.name in TIMED]
        return bursts, min(max(_LEAST_ROUNDS, int(budget / total)), _MOST_ROUNDS)

    def _outputs(self, model):
        return np.asarray(model(self.samples[:2], training=False))


def _loaded(path):
    """A function that runs a file on zeros, excluding the time to round inputs."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        zeros = np.zeros(details["shape"], details["dtype"])
        interpreter.set_tensor(details["index"], zeros)
    return interpreter.invoke


def _repeat(run, number):
    for _ in range(number):
        run()


def _difference(expected, found):
    _check_finite(expected)
    return float(np.abs(expected.astype(np.float64) - found).max())


def _check_finite(outputs):
    if not np.isfinite(outputs).all():
        raise FloatingPointError("Not all outputs are finite.")


def try_model(name, is_quick, seed):
    """The figures of one model and what went wrong, or None."""
    # Reports where a process died in native code, even while notes are dropped.
    faulthandler.enable(os.fdopen(os.dup(sys.stderr.fileno()), "w"))
    # If memory runs out, this process should be killed rather than another one.
    score = pathlib.Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("1000")
    trial = Trial(name, is_quick, seed)
    with tempfile.TemporaryDirectory() as folder:
        problem = trial.run(pathlib.Path(folder))
    return trial.measures, problem


def measure(name, worked, options):
    """All figures of one model, measured in a separate process that frees its memory.

    Args:
        name: of the model.
        worked: list to which success or failure is appended.
        options: options of the command line.
    """
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as process:
        try:
            task = process.submit(try_model, name, options.quick, options.seed)
            measures, problem = task.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            measures, problem = [], f"the process ended: {error}"
    if problem:
        harness.progress(f"{name} failed in {problem}")
    worked.append(problem is None)
    return [harness.Measure("works", float(worked[-1]), at_least=1), *measures]


def summarize(worked, options):
    """The share of models for which everything succeeded."""
    return [
        harness.Measure("models", len(worked)),
        harness.Measure("share that works", float(np.mean(worked)), at_least=1),
    ]


def kernels(options):
    """How long int8 kernels take for thin layers, per MAC of the widest."""
    from tfcompress.runtime.interpreter import loaded
    from tfcompress.runtime.sparse_costs import fastest_ns
    from tfcompress.tflite.dense_layer import dense_layer
    from tfcompress.tflite.read import write

    generator = np.random.default_rng(options.seed)
    cost = {}
    for count in _CHANNELS:
        kernel = generator.integers(-127, 128, (count, count), dtype=np.int8)
        layer = write(dense_layer(kernel, _POSITIONS, scale=0.05))
        cost[count] = fastest_ns(loaded(layer, 1, "A layer to measure")) / count**2
    widest = cost[max(cost)]
    return [
        harness.Measure(
            f"{count} channels: time per MAC", each / widest, "of the widest"
        )
        for count, each in cost.items()
    ]


def rows():
    """`{name: function of the options}` for all models, and one for them together."""
    worked = []
    names = [*application_names(), *_OUR_OWN]
    functions = {name: functools.partial(measure, name, worked) for name in names}
    return {
        **functions,
        "kernels": kernels,
        "all": functools.partial(summarize, worked),
    }


if __name__ == "__main__":
    harness.main(__doc__, rows(), quick=_QUICK)
