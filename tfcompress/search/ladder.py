"""Post-training quantization, rung by rung, until the accuracy is preserved."""

import dataclasses
import math
import pathlib
import tempfile
import time

import keras

from tfcompress.core.data import Data, Samples
from tfcompress.core.files import check_writable, write_atomically
from tfcompress.core.kinds import (
    VERBOSE,
    BuiltModel,
    FilePath,
    Function,
    Number,
    OneOf,
    checked,
)
from tfcompress.core.text import Table, as_text
from tfcompress.export import PRECISIONS, export_tflite
from tfcompress.export.precisions import precision_of
from tfcompress.export.trace import named_outputs
from tfcompress.measuring.scores import in_order, score, tasks_of
from tfcompress.quantization.post_training.equalize import equalize
from tfcompress.quantization.post_training.folded import folded
from tfcompress.quantization.post_training.quantize_weights import quantize_weights
from tfcompress.quantization.quantize_activations import quantize_activations
from tfcompress.runtime.interpreter import Interpreter

_ALLOWED = [name for name in PRECISIONS if precision_of(name).holds_ranges]
REFERENCE = "float32"


@dataclasses.dataclass(frozen=True)
class Rung:
    """One method and the score of its file.

    Attributes:
        name: `"float32"` (the reference), `"converter"`, `"ranges"`, `"equalization"`,
            `"bias_correction"`, `"gptq"` or `"ada_round"`.
        score: what `evaluate` returns for the file.
        drop: the float32 file's score minus this score.
        size_bytes: bytes of the file.
        seconds: time to write the file and evaluate it.
    """

    name: str
    score: float
    drop: float
    size_bytes: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Ladder:
    """All rungs that were tried; prints as a table.

    Attributes:
        path: the written file, which is that of the best rung.
        precision: precision of the file.
        max_drop: the largest allowed drop.
        rungs: list of `Rung`; the first is the float32 file.
        best: the rung that was written.
        model: the Keras model that the file was written from.
    """

    path: pathlib.Path
    precision: str
    max_drop: float
    rungs: list
    best: Rung
    model: keras.Model

    @property
    def met(self):
        """Whether the best rung loses no more than is allowed."""
        return self.best.drop <= self.max_drop

    def __getitem__(self, name):
        """The rung with a name."""
        return {rung.name: rung for rung in self.rungs}[name]

    def table(self):
        """A `rich.table.Table`."""
        table = Table(
            title=f"{self.path.name}: {self.precision}, a drop of {self.max_drop:g} "
            f"allowed: {'met' if self.met else 'not met'}",
            title_justify="left",
        )
        table.add_column("rung")
        for name in ("score", "drop", "bytes", "seconds", "written"):
            table.add_column(name, justify="right")
        for rung in self.rungs:
            table.add_row(
                rung.name,
                f"{rung.score:.4f}",
                f"{rung.drop:+.4f}",
                f"{rung.size_bytes:,}",
                f"{rung.seconds:.1f}",
                "yes" if rung is self.best else "",
            )
        return table

    def __str__(self):
        return as_text(self.table(), width=100)


@checked
def quantize_ladder(
    model: BuiltModel(),
    path: FilePath("the .tflite file to write"),
    samples: Samples(),
    evaluate: Function("evaluate(path) that returns a score") | Data(),
    max_drop: Number(0) = 0.003,
    precision: OneOf(*_ALLOWED) = "int8",
    verbose: VERBOSE = 1,
) -> Ladder:
    """Quantizes without training, using the cheapest method that preserves the score.

    The rungs, in order of cost:

    1. `converter`: `tfc.export_tflite` alone, with the ranges of the samples;
    2. `ranges`: activations and weights clipped where that reduces the squared error;
    3. `equalization`: the same after `tfc.post_training.equalize`;
    4. `bias_correction`, 5. `gptq`, 6. `ada_round`: `tfc.quantize_weights`, on the
       better of 2 and 3.

    The model of each rung is written as a file, and the file is scored in LiteRT. The first
    rung that loses at most `max_drop` is the last; if none does, the best one is kept.

    Args:
        model: a Sequential or Functional model, or a subclassed one whose `call` uses
            Keras only.
        path: path of the file to write.
        samples: an array, `{input name: array}` or a dataset of batches: several hundred
            typical inputs.
        evaluate: `(x, y)`, inputs and targets to score in terms of the model's loss: the
            fraction (0 to 1) of correct classes or of correct binary answers, or minus the
            mean squared error of values; or a function of a file's path that returns a
            score, the higher the better. Do not use the final test set.
        max_drop: largest allowed loss relative to the float32 file, in units of the score.
        precision: `"int8"` or `"int4"`.
        verbose: 1 prints each rung when it is done.

    Returns:
        A `Ladder`.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if an argument is out of range.

    Source: the order follows the post-training pipeline of Nagel et al., "A White Paper
    on Neural Network Quantization" (2021), section 3.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
        >>> y = np.argmax(model(x), axis=1)
        >>> ladder = tfc.quantize_ladder(model, tmp_path / "m.tflite", x, (x, y), 0.1,
        ...     verbose=0)
        >>> [rung.name for rung in ladder.rungs], ladder.met
        (['float32', 'converter'], True)
    """
    path = check_writable(path)
    flat = folded(model)
    score_of = evaluate
    if not callable(evaluate):
        score_of = _Score(model, list(named_outputs(flat, flat.output)), *evaluate)
    scores, rungs, best = {}, [], None
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / path.name
        bits = precision_of(precision).weight_bits
        for name, make in _steps(flat, bits, samples, scores).items():
            start = time.perf_counter()
            made = make()
            kind = precision if rungs else REFERENCE
            export_tflite(made, file, kind, samples=samples, verify=False)
            scores[name] = _checked(score_of(file), name)
            rung = Rung(
                name,
                scores[name],
                scores[REFERENCE] - scores[name],
                file.stat().st_size,
                time.perf_counter() - start,
            )
            rungs.append(rung)
            if verbose:
                print(
                    f"{name}: {rung.score:.4f} ({rung.drop:+.4f}), "
                    f"{rung.size_bytes:,} bytes, {rung.seconds:.1f} s"
                )
            if name != REFERENCE and (best is None or rung.score > best.score):
                best, kept, content = rung, made, file.read_bytes()
            if name != REFERENCE and rung.drop <= max_drop:
                break
    write_atomically(path, content)
    return Ladder(path, precision, max_drop, rungs, best, kept)


def _steps(flat, bits, samples, scores):
    """`{name: function that builds the model}`, in order of cost."""
    ranged = {}

    def with_ranges(name, equalized):
        source = equalize(flat) if equalized else flat
        ranged[name] = quantize_activations(source, ranges="mse", samples=samples)
        return quantize_weights(ranged[name], bits, samples, correct_bias=False)

    def rounded(rounding):
        better = ranged[max(ranged, key=scores.get)]
        return quantize_weights(better, bits, samples, rounding)

    return {
        REFERENCE: lambda: flat,
        "converter": lambda: flat,
        "ranges": lambda: with_ranges("ranges", equalized=False),
        "equalization": lambda: with_ranges("equalization", equalized=True),
        "bias_correction": lambda: rounded("nearest"),
        "gptq": lambda: rounded("gptq"),
        "ada_round": lambda: rounded("ada_round"),
    }


class _Score:
    """Scores the outputs of a file, in terms of the model's loss."""

    def __init__(self, model, names, x, y):
        self._model, self._names, self._x = model, names, x
        self._targets = in_order(y, names)
        self._tasks = None

    def __call__(self, path):
        with Interpreter(path) as interpreter:
            outputs = in_order(interpreter.run(self._x), self._names)
        if self._tasks is None:
            named = dict(zip(self._names, outputs, strict=True))
            self._tasks = tasks_of(self._model, named, self._targets)
        return score(self._tasks, outputs, self._targets)


def _checked(value, name):
    """A score as a float; NaN becomes the worst possible score.

    Raises:
        ValueError: if the score of the float32 file is not finite.
    """
    value = float(value)
    if name == REFERENCE and not math.isfinite(value):
        raise ValueError(
            f"The float32 file scores {value}: check that the model and the data that it "
            "is evaluated on are finite, and check what evaluate returns."
        )
    return -math.inf if math.isnan(value) else value
