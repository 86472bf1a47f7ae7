"""A process that takes one model of `zoo.py` through everything that the product does.

It prints a line of JSON before and after each step. Its arguments are the name of the
model and the steps to run.
"""

import collections
import contextlib
import dataclasses
import faulthandler
import io
import json
import linecache
import os
import pathlib
import sys
import tempfile
import time
import traceback
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
import zoo_models

import tfcompress as tfc

EXPORTS = ("float32", "float16", "dynamic", "int8", "int16x8")
_RATIO = 0.5
_LARGEST_NOISE = 0.5
# Share of kernel weights to be treated, unless the product reports the others.
_LEAST_SHARE = 0.5
# Tolerance for outputs that should be equal, relative to their spread.
_TOLERANCE = 1e-4
# 8-bit outputs that differ by less than this share of the largest say nothing.
_FINEST = 1 / 64
_REFUSALS = (ValueError, TypeError, NotImplementedError)
_MOST_CHARACTERS = 300
_PRODUCT = str(pathlib.Path(tfc.__file__).parent)


class Wrong(Exception):
    """Something ran and returned a wrong result."""


class Silent(Exception):
    """Nothing was done, and nothing was reported."""


class Trial:
    """One model and the steps applied to it; each step is a method.

    Attributes:
        said: list of lines that the product printed or warned.
    """

    def __init__(self, name, folder):
        self.folder = folder
        self.said = []
        self.specimen = zoo_models.build(name)
        self.model = self.specimen.model
        self.inputs = keras.tree.map_structure(
            tf.convert_to_tensor, self.specimen.inputs
        )
        self.outputs = self.run(self.model)
        _check_finite(self.outputs)
        # A model that draws random numbers differs from itself.
        self.is_random = not _agree(self.outputs, self.run(self.model))
        self.samples = self._samples()

    def run(self, model):
        """Outputs of a model as a list of arrays."""
        made = keras.tree.flatten(model(self.inputs, training=False))
        return [keras.ops.convert_to_numpy(output) for output in made]

    def _samples(self):
        """The inputs in the form that the product accepts: an array, or arrays by name."""
        arrays = self.specimen.inputs
        if not isinstance(arrays, (list, tuple)):
            return arrays
        # The names that `keras.Input` gives them, or would give.
        tensors = getattr(self.model, "inputs", None) or []
        names = [tensor._keras_history.operation.name for tensor in tensors]
        unnamed = ["inputs", *(f"inputs_{i}" for i in range(1, len(arrays)))]
        return dict(zip(names or unnamed, arrays, strict=True))

    def expect_same(self, outputs, what):
        """Raises `Wrong` unless these are the outputs of the model."""
        _check_finite(outputs)
        if not self.is_random and not _agree(self.outputs, outputs):
            worst = _noise(self.outputs, outputs)
            raise Wrong(f"{what}: outputs differ, noise {worst:.2g} of their spread")

    def report(self):
        """Prints the weights."""
        report = tfc.report(self.model)
        if not str(report):
            raise Wrong("the report is empty")
        if report.parameters != self.model.count_params():
            raise Wrong(
                f"{report.parameters} parameters reported of {self.model.count_params()}"
            )

    def train(self):
        """Masks half of the weights in a short training."""
        compressed = tfc.compress(self.model, {".*": "mask"})
        history = self._fit(compressed)
        missing = [name for name in self.specimen.logs if name not in history]
        if missing:
            raise Wrong(f"the model's own training step did not run: no {missing[0]!r}")
        sparsity = tfc.report(compressed).sparsity
        if sparsity < 0.9 * _RATIO:
            raise Wrong(f"sparsity {sparsity:.2f} after pruning to {_RATIO}")
        expected, stripped = self.run(compressed), tfc.strip(compressed)
        _check_finite(expected)
        if not self.is_random and not _agree(expected, self.run(stripped)):
            noise = _noise(expected, self.run(stripped))
            raise Wrong(f"stripped outputs differ, noise {noise:.2g} of their spread")

    def _fit(self, model):
        specimen = self.specimen
        x, y = self.inputs, specimen.targets
        arguments = specimen.compile
        if not arguments:
            arguments = {"optimizer": keras.optimizers.SGD(1e-3), "loss": "mse"}
            arrays = model(x, training=False)
            y = keras.tree.map_structure(lambda a: np.zeros(a.shape, "float32"), arrays)
        if "generator" in vars(self.model):
            x, y = specimen.targets, None
        # Models with a custom `compile` may not have the argument.
        eagerly = {"run_eagerly": True} if specimen.run_eagerly else {}
        model.compile(**arguments, **eagerly)
        pruning = tfc.callbacks.Pruning(_RATIO)
        count = len(keras.tree.flatten(x)[0])
        return model.fit(
            *([x] if y is None else [x, y]),
            batch_size=count // 2,
            callbacks=[pruning],
            verbose=0,
            shuffle=False,
        ).history

    def export(self, precision):
        """Exports a file, which is checked."""
        path = self.folder / f"{precision}.tflite"
        tfc.export_tflite(self.model, path, precision, samples=self.samples)
        path.unlink()

    def channels(self):
        """Nothing changes at ratio 0, and channels are cut at one half."""
        same = tfc.prune_channels(self.model, ratio=0.0)
        self.expect_same(self.run(same), "ratio 0")
        small = tfc.prune_channels(self.model, ratio=_RATIO)
        _check_finite(self.run(small))
        if small.count_params() >= self.model.count_params():
            groups = tfc.channel_groups(self.model)
            reasons = collections.Counter(group.whole for group in groups)
            self.expect_said(f"{len(groups)} groups left whole: {_most(reasons)}")

    def factorize(self):
        """Factorizes layers."""
        small = tfc.factorize(self.model, "svd", verbose=0)
        _check_finite(self.run(small))
        if small.count_params() >= self.model.count_params():
            plan = tfc.factorization.plan_factorization(self.model, "svd")
            reasons = collections.Counter(row.skipped for row in plan.layers)
            self.expect_said(f"{len(plan.layers)} layers kept: {_most(reasons)}")

    def ranges(self):
        """Quantizes activations to 8 bits."""
        quantized = tfc.quantize_activations(
            self.model, ranges="min_max", samples=self.samples
        )
        self.expect_close(self.run(quantized))

    def four_bits(self):
        """Quantizes weights to 4 bits."""
        quantized = tfc.quantize_weights(self.model, 4, self.samples)
        outputs = self.run(quantized)
        _check_finite(outputs)
        kernels = [
            weight
            for weight in tfc.report(quantized).weights
            if weight.macs is not None and weight.layer != "Embedding"
        ]
        total = sum(weight.parameters for weight in kernels)
        few = sum(weight.parameters for weight in kernels if weight.bits <= 8)
        if few < _LEAST_SHARE * total or _agree(self.outputs, outputs):
            self.expect_said(f"{few} of {total} weights of kernels have few bits")

    def expect_close(self, outputs):
        """Raises `Wrong` if outputs are mostly noise."""
        _check_finite(outputs)
        noise = _noise(self.outputs, outputs, finest=_FINEST)
        if not self.is_random and noise > _LARGEST_NOISE:
            raise Wrong(f"noise {noise:.2g} of the spread of the outputs")

    def expect_said(self, reason):
        """Raises `Silent` unless something was reported."""
        if not self.said:
            raise Silent(reason)
        raise Refused(f"{reason}; said: {self.said[0]}")


class Refused(ValueError):
    """Nothing was done, and a line reported it."""


def _check_finite(outputs):
    for array in outputs:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise FloatingPointError("Not all outputs are finite.")


def _agree(expected, found):
    return len(expected) == len(found) and _noise(expected, found, np.max) <= _TOLERANCE


def _noise(expected, found, of=np.mean, finest=0.0):
    """The largest difference of an output, relative to the spread of that output.

    Args:
        expected: list of arrays.
        found: list of arrays.
        of: the function applied to the squared differences.
        finest: the spread is at least this share of the largest value.
    """
    worst = 0.0
    for a, b in zip(expected, found, strict=True):
        if a.shape != b.shape:
            return np.inf
        a, b = a.astype("float64"), b.astype("float64")
        difference = np.sqrt(of((a - b) ** 2)) if a.size else 0.0
        largest = abs(a).max(initial=0.0)
        spread = max(a.std(), finest * largest) or largest or 1.0
        worst = max(worst, float(difference / spread))
    return worst


def _most(reasons):
    """The most common reason."""
    return str(reasons.most_common(1)[0][0]) if reasons else "there are none"


STEPS = {
    "report": Trial.report,
    "train": Trial.train,
    **{name: (lambda trial, name=name: trial.export(name)) for name in EXPORTS},
    "channels": Trial.channels,
    "factorize": Trial.factorize,
    "ranges": Trial.ranges,
    "4 bits": Trial.four_bits,
}


@dataclasses.dataclass
class Outcome:
    """The outcome of a step.

    Attributes:
        step: its name.
        kind: one of `KINDS` in `zoo.py`.
        reason: one line.
        warnings: lines that were reported meanwhile.
        seconds: its duration.
    """

    step: str
    kind: str = "works"
    reason: str = ""
    warnings: list = dataclasses.field(default_factory=list)
    seconds: float = 0.0


def attempt(trial, step):
    """Runs a step and returns its outcome."""
    start = time.perf_counter()
    outcome = Outcome(step)
    trial.said = outcome.warnings
    with _listening(trial.said):
        try:
            STEPS[step](trial)
            if not trial.is_random and not _agree(
                trial.outputs, trial.run(trial.model)
            ):
                raise Wrong("the model that was passed in has changed")
        except Exception as error:  # A failure is a result of this table.
            outcome.kind, outcome.reason = _kind(error), _line(error)
    outcome.seconds = round(time.perf_counter() - start, 1)
    return outcome


@contextlib.contextmanager
def _listening(lines):
    """Records warnings as they occur, and what is printed."""

    def note(message, category, *_, **__):
        if issubclass(category, (UserWarning, RuntimeWarning)):
            lines.append(_cut(str(message)))

    printed = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
        warnings.simplefilter("always")
        warnings.showwarning = note
        yield
    lines += [_cut(line) for line in printed.getvalue().splitlines() if line.strip()]


def _kind(error):
    if isinstance(error, Wrong):
        return "wrong"
    if isinstance(error, Silent):
        return "silent"
    frames = traceback.extract_tb(error.__traceback__)
    if not isinstance(error, _REFUSALS):
        return "odd"
    own = isinstance(error, Refused) or _is_raised_by_product(frames[-1])
    return "said" if own else "foreign"


def _is_raised_by_product(frame):
    """Whether a line of the product raised it deliberately, rather than failing."""
    line = linecache.getline(frame.filename, frame.lineno).strip()
    return frame.filename.startswith(_PRODUCT) and line.startswith("raise")


def _line(error):
    """An error as one line, with the last function of the product that led to it."""
    text = _cut(f"{type(error).__name__}: {error}")
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(_PRODUCT)
    ]
    if not frames:
        return text
    place = pathlib.Path(frames[-1].filename).relative_to(_PRODUCT)
    return f"{text} [{place}: {frames[-1].name}]"


def _cut(text):
    return " ".join(text.split())[:_MOST_CHARACTERS]


def main(name, steps):
    """Prints an outcome for building the model and for each step."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    faulthandler.enable()
    # If memory runs out, this process should be killed rather than another one.
    score = pathlib.Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("1000")

    def say(**what):
        print(json.dumps(what), file=answers)

    with tempfile.TemporaryDirectory() as folder:
        say(begin="build")
        try:
            trial = Trial(name, pathlib.Path(folder))
        except Exception as error:
            traceback.print_exc()
            say(**dataclasses.asdict(Outcome("build", "odd", _line(error))))
            return
        say(**dataclasses.asdict(Outcome("build")))
        for step in steps:
            say(begin=step)
            say(**dataclasses.asdict(attempt(trial, step)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
