"""No file is believed before it ran."""

import dataclasses
import pathlib

import keras
import numpy as np

from tfcompress.export.binary import binary_lines
from tfcompress.export.precisions import precision_of
from tfcompress.export.trace import named_outputs, named_specs, structured
from tfcompress.runtime.interpreter import Interpreter
from tfcompress.tflite.encode import encoding_lines
from tfcompress.tflite.operations import count_operations, float_operations
from tfcompress.tflite.sparsity import sparsity_lines

_NUM_SAMPLES = 64


class VerificationError(ValueError):
    """A written model does not compute what the Keras model computes."""


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """What was written, and how well it agrees with the Keras model.

    Attributes:
        path: the file.
        precision: as asked for.
        size_bytes: of the file.
        operations: `{name: count}`.
        float_operations: `{name: (count, reason)}` of operations that stayed float in an
            integer file.
        sparsity: a `KernelSparsity` for each kernel of which at least half is zero:
            whether it runs sparse, and why not.
        constants: an `EncodedConstant` for each constant of at least 64 bytes, if a
            codec was asked for.
        binary: a `BinaryLayer` for each layer whose kernel has two or three values:
            which operation it became, or why it stayed ordinary.
        max_error: largest absolute difference of an output; None without verification.
        mean_error: mean absolute difference.
        top1_agreement: fraction of samples with the same largest output, for a
            classifier (one output of shape `(batch, classes)`); else None.
        seconds: time the export took.
        notes: lines on what was not done as asked, such as kernels that stay at 8 bits in
            int4 files.
    """

    path: pathlib.Path
    precision: str
    size_bytes: int
    operations: dict
    float_operations: dict
    sparsity: tuple = ()
    constants: tuple = ()
    binary: tuple = ()
    max_error: float | None = None
    mean_error: float | None = None
    top1_agreement: float | None = None
    seconds: float = 0.0
    notes: tuple = ()

    def timed(self, seconds):
        """The same result with its time."""
        return dataclasses.replace(self, seconds=seconds)

    def to_dict(self):
        """Plain numbers, strings and lists."""
        return {**dataclasses.asdict(self), "path": str(self.path)}

    def __str__(self):
        lines = [f"{self.path}: {self.precision}, {self.size_bytes:,} bytes"]
        lines.append(", ".join(f"{n} {name}" for name, n in self.operations.items()))
        for name, (count, reason) in self.float_operations.items():
            lines.append(f"stayed float: {count} {name}: {reason}")
        lines += sparsity_lines(self.sparsity)
        lines += encoding_lines(self.constants)
        lines += binary_lines(self.binary)
        lines += self.notes
        if self.max_error is not None:
            lines.append(
                f"error: at most {self.max_error:.3g}, {self.mean_error:.3g} on average"
            )
        if self.top1_agreement is not None:
            lines.append(f"same class as the Keras model: {self.top1_agreement:.1%}")
        return "\n".join(lines)


def describe_result(
    file, path, precision, size_bytes, sparsity=(), constants=(), binary=(), notes=()
):
    """An `ExportResult` without the comparison.

    Args:
        file: the object form of the file.
        path: where it goes.
        precision: a `Precision`.
        size_bytes: of the file.
        sparsity: as in the result, and so on.
        constants: likewise.
        binary: likewise.
        notes: likewise.
    """
    return ExportResult(
        path=pathlib.Path(path),
        precision=precision.name,
        size_bytes=size_bytes,
        operations=count_operations(file),
        float_operations=float_operations(file) if precision.is_integer else {},
        sparsity=sparsity,
        constants=constants,
        binary=binary,
        notes=notes,
    )


def verify_outputs(result, model, content, samples=None, converted=None):
    """Runs the file beside the Keras model and adds the errors to the result.

    Args:
        result: an `ExportResult` without errors.
        model: what the file should compute.
        content: bytes of the file.
        samples: `{input name: array}` or None.
        converted: the model with binary operations that the file was made of, if it has
            such. Sums that are zero but for rounding may have other signs in it than in
            `model`, so the limits are wide there; float32 files have to do the same.

    Raises:
        VerificationError: if they differ by more than the precision explains.
    """
    specs = named_specs(model)
    samples = samples or _random_samples(specs)
    samples = {name: array[:_NUM_SAMPLES] for name, array in samples.items()}
    expected = _keras_outputs(model, samples)
    with Interpreter(content) as interpreter:
        actual = interpreter.run(samples)
        details = interpreter.output_details
    if not isinstance(actual, dict):
        actual = dict(zip(expected, [actual], strict=True))
    differences = {
        name: np.abs(actual[name].astype(np.float64) - array)
        for name, array in expected.items()
    }
    for name, array in expected.items():
        _check(result, name, array, differences[name], _step(details, name))
    precision = precision_of(result.precision)
    if converted is not None and precision.is_exact:
        exact = _keras_outputs(converted, samples)
        if len(exact) == 1:
            # A subclassed model calls it otherwise.
            exact = dict(zip(expected, exact.values(), strict=True))
        for name, array in exact.items():
            difference = np.abs(actual[name] - array)
            _check_mean(result, name, array, difference, precision.tolerance.largest)
    joined = np.concatenate([d.ravel() for d in differences.values()])
    return dataclasses.replace(
        result,
        max_error=float(joined.max()),
        mean_error=float(joined.mean()),
        top1_agreement=_top1_agreement(expected, actual),
    )


def _random_samples(specs):
    generator = np.random.default_rng(0)
    return {
        name: generator.normal(size=(16, *spec.shape[1:])).astype(
            spec.dtype.as_numpy_dtype
        )
        if spec.dtype.is_floating
        else np.zeros((16, *spec.shape[1:]), spec.dtype.as_numpy_dtype)
        for name, spec in specs.items()
    }


def _keras_outputs(model, samples):
    inputs = structured(
        model, {n: keras.ops.convert_to_tensor(a) for n, a in samples.items()}
    )
    outputs = named_outputs(model, model(inputs, training=False))
    return {name: np.asarray(tensor, np.float64) for name, tensor in outputs.items()}


def _step(details, name):
    detail = details.get(name) or next(iter(details.values()))
    return detail["quantization"][0]


def _check(result, name, expected, difference, step):
    tolerance = precision_of(result.precision).tolerance
    mean = tolerance.mean_of_signs if _has_signs(result) else tolerance.mean
    if mean is not None:
        _check_mean(result, name, expected, difference, mean, step)
        return
    error = difference.max(initial=0.0)
    _check_error(result, name, expected, "largest", error, tolerance.largest, step)


def _has_signs(result):
    # Outside of binary operations a sign is a comparison with zero.
    reads_signs = any(layer.input != "values" for layer in result.binary)
    return reads_signs or "GREATER_EQUAL" in result.operations


def _check_mean(result, name, expected, difference, share, step=0.0):
    _check_error(result, name, expected, "mean", difference.mean(), share, step)


def _check_error(result, name, expected, kind, error, share, step):
    largest = np.abs(expected).max(initial=0.0)
    allowed = share * largest + step + 1e-6
    if not error <= allowed:
        raise VerificationError(
            f"Output {name!r} of the {result.precision} file differs from the Keras "
            f"model: {kind} error {error:.4g} where {allowed:.4g} is expected (outputs "
            f"reach {largest:.4g}). No file was written. Check that samples are typical "
            "inputs; verify=False writes the file anyway."
        )


def _top1_agreement(expected, actual):
    if len(expected) != 1:
        return None
    name, array = next(iter(expected.items()))
    if array.ndim != 2 or array.shape[1] < 2:
        return None
    return float(np.mean(array.argmax(axis=1) == actual[name].argmax(axis=1)))
