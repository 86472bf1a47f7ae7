"""Compares Keras models and `.tflite` files in one table."""

import contextlib
import dataclasses
import gzip
import json
import os
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.compress import strip
from tfcompress.core.data import Data
from tfcompress.core.errors import refuse
from tfcompress.core.kinds import (
    BuiltModel,
    FilePath,
    Flag,
    Integer,
    Mapping,
    Text,
    checked,
)
from tfcompress.core.macs import input_specs
from tfcompress.core.text import Table, as_text
from tfcompress.export.trace import named_outputs
from tfcompress.interop.load import load_model
from tfcompress.measuring.benchmark import benchmark
from tfcompress.measuring.report import report
from tfcompress.measuring.scores import agreement, in_order, score, tasks_of
from tfcompress.runtime.interpreter import Interpreter
from tfcompress.tflite.decode import decode
from tfcompress.tflite.operations import count_macs, count_parameters
from tfcompress.tflite.read import read

_UNMARKED = {"accuracy": None, "agreement": None}


@dataclasses.dataclass(frozen=True)
class Row:
    """One model of a comparison.

    Attributes:
        label: the given label.
        kind: `"keras"` or `"tflite"`.
        size_bytes: size of the `.tflite` file, or of the model saved as `.keras` (only
            weights, no optimizer).
        zipped_bytes: the size after gzip, level 9.
        parameters: number of weights.
        nonzero_parameters: number of weights that are not zero.
        macs: multiply-accumulates of kernels for one sample.
        latency_ms: median in LiteRT with one thread; Keras models as float32 files.
        accuracy: fraction of correct answers (classes, or yes and no, at each position of
            a segmentation), or minus the mean squared error (values); the mean over
            several outputs; None without targets.
        agreement: fraction of answers equal to those of the first model, or the mean
            absolute difference from it if outputs are values.
    """

    label: str
    kind: str
    size_bytes: int
    zipped_bytes: int
    parameters: int
    nonzero_parameters: int
    macs: int
    latency_ms: float | None
    accuracy: float | None
    agreement: float | None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Rows, compared with the first one; prints as a table."""

    rows: tuple
    classifies: bool = True

    def __getitem__(self, label):
        """The row with a label."""
        return {row.label: row for row in self.rows}[label]

    def to_dict(self):
        """Plain numbers, strings and lists."""
        return {"rows": [dataclasses.asdict(row) for row in self.rows]}

    def to_json(self, **kwargs):
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), **kwargs)

    def table(self):
        """A `rich.table.Table`."""
        table = Table()
        table.add_column("model")
        quality = "accuracy" if self.classifies else "score"
        closeness = "agrees" if self.classifies else "differs"
        for name in (
            "size", "", "zipped", "", "parameters", "non-zero", "MACs", "latency", "",
            quality, closeness,
        ):  # fmt: skip
            table.add_column(name, justify="right")
        first = self.rows[0]
        for row in self.rows:
            table.add_row(
                row.label,
                _kilobytes(row.size_bytes),
                _ratio(first.size_bytes, row.size_bytes),
                _kilobytes(row.zipped_bytes),
                _ratio(first.zipped_bytes, row.zipped_bytes),
                f"{row.parameters:,}",
                f"{row.nonzero_parameters:,}",
                f"{row.macs:,}",
                "–" if row.latency_ms is None else f"{row.latency_ms:.3f} ms",
                _ratio(first.latency_ms, row.latency_ms),
                self._quality(row.accuracy),
                self._quality(row.agreement),
            )
        return table

    def _quality(self, value):
        if value is None:
            return "–"
        return f"{value:.2%}" if self.classifies else f"{value:.4g}"

    def __str__(self):
        return as_text(self.table(), width=150)


@checked
def compare(
    models: Mapping(
        Text(),
        BuiltModel() | FilePath("a .keras, .h5 or .tflite file"),
        "{label: model or path}, at least one",
        least=1,
    ),
    data: Data(or_dataset=True, or_inputs=True) = None,
    batch_size: Integer(1) = 256,
    num_threads: Integer(1) = 1,
    latency: Flag() = True,
) -> Comparison:
    """Compares Keras models and `.tflite` files side by side.

    Args:
        models: `{label: model or path}`; the first is the reference. Compressed models
            are stripped first.
        data: `(x, y)`, or `x`, or a `tf.data.Dataset` of such batches; `y` are class
            labels, one-hot labels, zeros and ones, or values: this is determined by the
            loss with which the first model was compiled, or else by their shapes. For
            several outputs, `y` is a list or a dictionary.
        batch_size: number of samples per batch, whatever the batches of a dataset are. At
            most one batch of a dataset is held in memory.
        num_threads: number of threads for latency.
        latency: whether to measure latency.

    Returns:
        A `Comparison`.

    Raises:
        ValueError: if there is no model, or the data does not match.
        FileNotFoundError: if a file does not exist.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="d")])
        >>> small = tfc.compress(model, {"d": "uniform"})
        >>> table = tfc.compare({"dense": model, "8 bits": small}, latency=False)
        >>> table["8 bits"].parameters
        10
    """
    with contextlib.ExitStack() as stack:
        opened = {
            label: _opened(model, stack, num_threads, latency)
            for label, model in models.items()
        }
        first = next(iter(models.values()))
        tasks, marks = _marks(first, opened, _batches(data, batch_size))
    rows = [
        Row(label, **facts, **marks.get(label, _UNMARKED))
        for label, (facts, _) in opened.items()
    ]
    return Comparison(tuple(rows), all(task.classifies for task in tasks))


def _marks(model, opened, batches):
    """The `Task` of each output, and `{label: accuracy and agreement}`, over all batches.

    Args:
        model: the model whose loss determines the task of each output.
        opened: `{label: (facts, function that predicts)}`.
        batches: iterable of `(x, y)`; `y` may be None.
    """
    tasks, found, counts = [], [], []
    for x, y in batches:
        outputs = [predict(x) for _, predict in opened.values()]
        names = outputs[0]
        targets = None if y is None else in_order(y, names)
        tasks = tasks or tasks_of(model, names, targets)
        ordered = [in_order(of_model, names) for of_model in outputs]
        found.append(
            [
                [
                    np.nan if targets is None else score(tasks, one, targets),
                    agreement(tasks, ordered[0], one),
                ]
                for one in ordered
            ]
        )
        counts.append(len(ordered[0][0]))
    if not found:
        return tasks, {}
    means = np.average(found, axis=0, weights=counts).tolist()
    return tasks, {
        label: {
            "accuracy": None if np.isnan(accuracy) else accuracy,
            "agreement": closeness,
        }
        for label, (accuracy, closeness) in zip(opened, means, strict=True)
    }


def _opened(model, stack, num_threads, latency):
    """The values that need no data, and a function that predicts a batch.

    Files stay open until the stack is closed.
    """
    if (
        isinstance(model, (str, os.PathLike))
        and pathlib.Path(model).suffix == ".tflite"
    ):
        return _opened_file(pathlib.Path(model), stack, num_threads, latency)
    if isinstance(model, (str, os.PathLike)):
        model = load_model(model)
    plain = strip(model)
    measured = report(plain)
    size_bytes, zipped_bytes = _saved_sizes(plain)
    facts = {
        "kind": "keras",
        "size_bytes": size_bytes,
        "zipped_bytes": zipped_bytes,
        "parameters": measured.parameters,
        "nonzero_parameters": measured.nonzero_parameters,
        "macs": measured.macs,
        "latency_ms": benchmark(plain, num_threads).median_ms if latency else None,
    }

    def predict(x):
        _check_fits(x, plain)
        return named_outputs(plain, plain.predict_on_batch(x))

    return facts, predict


def _saved_sizes(plain):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.keras"
        plain.save(path, include_optimizer=False)
        return path.stat().st_size, _zipped(path)


def _check_fits(x, model):
    specs = keras.tree.flatten(input_specs(model))
    arrays = keras.tree.flatten(x)
    shapes = [tuple(spec.shape) for spec in specs]
    # A list of numbers is one array, too.
    if len(arrays) == len(specs) and not all(map(_fits, arrays, shapes)):
        refuse(
            "compare(data)",
            x,
            f"inputs of shape {', '.join(str((None, *s[1:])) for s in shapes)}",
        )


def _fits(array, shape):
    given = np.shape(array)
    return len(given) == len(shape) and all(
        a in (None, b) for a, b in zip(shape[1:], given[1:], strict=True)
    )


def _opened_file(path, stack, num_threads, latency):
    interpreter = stack.enter_context(Interpreter(path, num_threads))

    def predict(x):
        outputs = interpreter.run(x)
        names = interpreter.output_details
        return outputs if isinstance(outputs, dict) else {next(iter(names)): outputs}

    file = read(path.read_bytes())
    decode(file)
    parameters, nonzero = count_parameters(file)
    facts = {
        "kind": "tflite",
        "size_bytes": path.stat().st_size,
        "zipped_bytes": _zipped(path),
        "parameters": parameters,
        "nonzero_parameters": nonzero,
        "macs": count_macs(file),
        "latency_ms": benchmark(path, num_threads).median_ms if latency else None,
    }
    return facts, predict


def _zipped(path):
    return len(gzip.compress(path.read_bytes(), compresslevel=9))


def _batches(data, batch_size):
    """Batches `(x, y)`, one after the other; `y` may be None."""
    if data is None:
        return
    if isinstance(data, tf.data.Dataset):
        # A few samples would not show what outputs without a known loss are for.
        for batch in data.rebatch(batch_size).as_numpy_iterator():
            yield keras.utils.unpack_x_y_sample_weight(batch)[:2]
        return
    x, y = data if isinstance(data, (tuple, list)) else (data, None)
    arrays = keras.tree.map_structure(
        lambda part: None if part is None else np.asarray(part), (x, y)
    )
    for start in range(0, len(keras.tree.flatten(arrays)[0]), batch_size):
        rows = slice(start, start + batch_size)
        yield keras.tree.map_structure(
            lambda part, rows=rows: None if part is None else part[rows], arrays
        )


def _kilobytes(size):
    return f"{size / 1000:,.1f} kB"


def _ratio(first, value):
    return "" if not value or not first or first == value else f"{first / value:.2f}x"
