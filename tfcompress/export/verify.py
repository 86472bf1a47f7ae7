"""Runs each file before it is trusted."""

import dataclasses
import pathlib

import keras
import numpy as np

from tfcompress.core.keras_internals import all_layers
from tfcompress.core.macs import fixed_batch_size, input_specs
from tfcompress.core.samples import check_outputs, rounded_up
from tfcompress.core.substituted import call_substituted
from tfcompress.export.binary import binary_lines
from tfcompress.export.noise import output_noise
from tfcompress.export.precisions import HALF, precision_of
from tfcompress.export.trace import named_outputs, named_specs
from tfcompress.export.trial_inputs import trial_inputs
from tfcompress.runtime.interpreter import Interpreter
from tfcompress.runtime.trial import ended_by
from tfcompress.tflite.encode import encoding_lines
from tfcompress.tflite.operations import count_operations, float_operations
from tfcompress.tflite.sparsity import sparsity_lines

_NUM_SAMPLES = 64
# More at a time would take fresh memory for each layer, which costs more than computing.
_TOGETHER = 32
# Rounding differs far less between batches of different sizes.
_MIXED = 1e-2
# Most channels that a line lists.
_NUM_LISTED = 8


class VerificationError(ValueError):
    """A written model does not compute what the Keras model computes."""


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """What was written, and how well it agrees with the Keras model.

    Attributes:
        path: the file.
        precision: the requested precision.
        size_bytes: size of the file.
        operations: `{name: count}`.
        float_operations: `{name: (count, reason)}` of operations that stayed float in an
            integer file.
        sparsity: a `KernelSparsity` for each kernel with at least half zeros: whether it
            runs sparse, and why not.
        constants: an `EncodedConstant` for each constant of at least 64 bytes, if a
            codec was requested; without one, for 4-bit kernels of convolutions.
        binary: a `BinaryLayer` for each layer whose kernel has two or three values:
            which operation it became, or why it stayed ordinary.
        max_error: largest absolute difference of an output; None without verification.
        mean_error: mean absolute difference.
        top1_agreement: fraction of samples with the same largest output, for a
            classifier (one output of shape `(batch, classes)`); else None.
        seconds: duration of the export.
        notes: lines on what was not done as requested, such as kernels that stay at 8
            bits in int4 files; on channels of outputs that have more noise than usual, or
            that are lost because they spread less than the rounding of the output; and on
            what could not be checked.
        noise: `{output: noise}`, the root mean squared difference divided by the standard
            deviation of the channels of the output (its last axis) in the Keras model.
            For classes, how many differ divided by how many would differ by chance. None
            without verification.
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
    noise: dict | None = None

    def timed(self, seconds):
        """A copy of the result with its duration."""
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
        path: its path.
        precision: a `Precision`.
        size_bytes: size of the file.
        sparsity: as in the result.
        constants: as in the result.
        binary: as in the result.
        notes: as in the result.
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


def verify_outputs(
    result,
    model,
    plain,
    content,
    samples=None,
    converted=None,
    batch_size=1,
    signature=None,
):
    """Compares the file with the Keras model and adds the errors to the result.

    Args:
        result: an `ExportResult` without errors.
        model: the model that the file should match. If it computes in half precision, its
            float32 copy replaces it, provided that the two agree within half precision.
        plain: the plain copy in float32, or the model itself.
        content: bytes of the file.
        samples: `{input name: array}` or None.
        converted: the model with binary operations from which the file was made, if there
            are any. Sums that are zero up to rounding may have other signs in it than in
            `model`, so the limits are wide there; float32 files have to match it.
        batch_size: batch size of the file.
        signature: the signature to run, for a file with several.

    Raises:
        VerificationError: if they differ by more than the precision explains.
        ValueError: if the model returns NaN for samples.
    """
    reference = plain if _is_half(model) else model

    def run(inputs):
        return _keras_outputs(reference, inputs, plain)

    specs = named_specs(plain, batch_size)
    batch_size = next(iter(specs.values())).shape[0]
    if samples is None:
        samples, expected = trial_inputs(reference, specs, run)
    else:
        samples = _few(samples, batch_size)
        expected = run(samples)
        check_outputs(reference, [expected])
    if expected is None:
        return _noted(
            result,
            "not checked: the Keras model's outputs are NaN or infinite on random inputs; "
            "pass samples, or check the file yourself",
        )
    if reference is not model:
        _check_half(result, _keras_outputs(model, samples, plain), expected)
    together = None
    if _mixes_samples(reference, samples, plain, expected, batch_size):
        together = batch_size
        expected = _keras_outputs(reference, samples, plain, together)
        result = _noted(
            result,
            "the model's output for a sample depends on the others in its batch: the file "
            f"agrees with batches of {batch_size}",
        )
    _check_survival(result, content)
    with Interpreter(content, signature=signature) as interpreter:
        actual = interpreter.run(samples)
        details = interpreter.output_details
    if not isinstance(actual, dict):
        actual = dict(zip(expected, [actual], strict=True))
    precision = precision_of(result.precision)
    limit = precision.tolerance.of_signs if _has_signs(result) else None
    noises = _checked(result, expected, actual, precision.tolerance, limit, details)
    if converted is not None and precision.is_exact:
        exact = _keras_outputs(converted, samples, plain, together)
        _checked(result, exact, actual, precision.tolerance)
    return _measured(result, expected, actual, noises)


def compared(result, expected, actual):
    """The result of a float file with the errors of outputs.

    Args:
        result: an `ExportResult` without errors.
        expected: `{output: array}`, those of the Keras model.
        actual: `{output: array}`, those of the file.

    Raises:
        VerificationError: if they differ by more than the precision explains.
    """
    tolerance = precision_of(result.precision).tolerance
    return _measured(
        result, expected, actual, _checked(result, expected, actual, tolerance)
    )


def _check_survival(result, content):
    """Raises for files that would end Python, as some 16-bit kernels do."""
    if precision_of(result.precision).activation_bits != 16:
        return
    name = ended_by(content)
    if name:
        raise VerificationError(
            f"LiteRT ends with {name} when it runs the {result.precision} file: one of its "
            "kernels does not take the ranges that it gets. No file was written. Use "
            "precision='int8' or 'dynamic'."
        )


def _is_half(model):
    """Whether any layer computes in less than float32."""
    return any(
        keras.backend.standardize_dtype(layer.compute_dtype) in ("float16", "bfloat16")
        for layer in all_layers(model)
    )


def _few(samples, batch_size):
    """Some of the samples in whole batches, repeated if necessary."""
    count = len(next(iter(samples.values())))
    rows = np.arange(rounded_up(min(count, _NUM_SAMPLES), batch_size)) % count
    return {name: array[rows] for name, array in samples.items()}


def _mixes_samples(model, samples, plain, expected, batch_size):
    """Whether batches of the file's size give other results than larger batches.

    The first and the last are tried, since results may depend on the position.
    """
    ends = {
        name: np.concatenate([array[:batch_size], array[-batch_size:]])
        for name, array in samples.items()
    }
    alone = _keras_outputs(model, ends, plain, batch_size)
    return not all(_agrees(array, expected[name]) for name, array in alone.items())


def _agrees(ends, whole):
    count = len(ends) // 2
    if ends.shape[1:] != whole.shape[1:]:
        return False
    whole = np.concatenate([whole[:count], whole[-count:]])
    size = np.abs(whole[np.isfinite(whole)]).max(initial=0.0)
    return np.allclose(ends, whole, _MIXED, _MIXED * size, equal_nan=True)


def _keras_outputs(model, samples, plain, batch_size=None):
    """`{name: array}` under the names that the outputs have in the file.

    Models with a fixed batch size run batch by batch and keep their states in between, as
    the file does; the states of the model itself are not changed.
    """
    arrays, specs = list(samples.values()), input_specs(model)
    count = len(arrays[0])
    size = fixed_batch_size(model) or batch_size or _TOGETHER
    parts, states = [], {}
    for start in range(0, count, size):
        tensors = [
            keras.ops.convert_to_tensor(array[start : start + size]) for array in arrays
        ]
        inputs = keras.tree.pack_sequence_as(specs, tensors)
        called = call_substituted(model, states, inputs, training=False)
        states |= {id(state): value for state, value in called.updates}
        parts.append(named_outputs(plain, called.outputs))
    return {
        name: np.concatenate([np.atleast_1d(_as_array(part[name])) for part in parts])
        for name in parts[0]
    }


def _as_array(tensor):
    array = keras.ops.convert_to_numpy(tensor)
    return array if array.dtype.kind in "iub" else array.astype(np.float64)


def _step(details, name):
    detail = details.get(name) or next(iter(details.values()))
    return float(detail["quantization"][0])


def _has_signs(result):
    # Outside of binary operations, a sign is a comparison with zero.
    reads_signs = any(layer.input != "values" for layer in result.binary)
    return reads_signs or "GREATER_EQUAL" in result.operations


def _check_half(result, model, plain):
    """Raises if the float32 copy differs from the model by more than half precision."""
    for name, expected in plain.items():
        found = output_noise(expected, model[name], 0.0, HALF, HALF.most)
        if found.wrong:
            raise VerificationError(
                f"Output {name!r}: the float32 copy from which the {result.precision} file "
                f"is made differs from the model, in half precision, by "
                f"{found.noise:.2g} of the spread. No file was written. Compare the "
                "model with dtype_policy='float32'; verify=False writes the file anyway."
            )


def _checked(result, expected, actual, tolerance, limit=None, details=None):
    """`{output: OutputNoise}`; raises if an output is wrong."""
    limit = tolerance.most if limit is None else limit
    noises = {}
    for name, array in expected.items():
        step = _step(details, name) if details else 0.0
        found = output_noise(array, actual[name], step, tolerance, limit)
        if found.wrong or not found.follows:
            error = np.nanmax(np.abs(actual[name] - array))
            raise VerificationError(_refusal(result, name, found, limit, error))
        noises[name] = found
    return noises


def _refusal(result, name, found, limit, error):
    where = f"Output {name!r} of the {result.precision} file"
    if found.wrong:
        worst = found.channels[list(found.wrong)].max()
        what = (
            f"{where} differs from the Keras model{_in_channels(found, found.wrong)}: "
            f"noise of {worst:.2g} of the spread, where {limit:g} is the limit; the "
            f"largest error is {error:.4g}."
        )
    else:
        what = f"{where} does not follow the inputs as the Keras model's does."
    return (
        f"{what} No file was written. Check that samples are typical inputs"
        f"{_more_bits(result)}; verify=False writes the file anyway."
    )


def _more_bits(result):
    """What else helps if the number of bits is the reason."""
    if precision_of(result.precision).activation_bits != 8:
        return ""
    return (
        ", train with tfc.quantize_activations, or use more bits, as with "
        "precision='int16x8'"
    )


def _in_channels(found, places):
    """Which channels, if there are several."""
    if len(found.channels) == 1:
        return ""
    listed = ", ".join(map(str, places[:_NUM_LISTED]))
    more = ", ..." if len(places) > _NUM_LISTED else ""
    return f" in {len(places)} of {len(found.channels)} channels ({listed}{more})"


def _noise_lines(result, noises):
    usual = precision_of(result.precision).tolerance.usual
    for name, found in noises.items():
        if found.noisy:
            worst = found.channels[list(found.noisy)].max()
            yield (
                f"output {name!r}: noise of up to {worst:.2g} of the spread"
                f"{_in_channels(found, found.noisy)}; {usual:g} is usual in "
                f"{result.precision} files"
            )
        if found.lost:
            yield (
                f"output {name!r}: values are lost{_in_channels(found, found.lost)}: they "
                "spread less than the rounding of the output, which has one scale"
                f"{f' with steps of {found.step:.3g}' if found.step else ''}. Make them "
                "a separate output, centered around zero, if they matter"
            )


def _noted(result, *lines):
    return dataclasses.replace(result, notes=(*result.notes, *lines))


def _measured(result, expected, actual, noises):
    """The result with errors, for the values that are finite in the Keras model."""
    with np.errstate(invalid="ignore"):
        joined = np.concatenate(
            [
                np.abs(np.subtract(actual[name], array, dtype=np.float64)).ravel()
                for name, array in expected.items()
            ]
        )
    known = np.concatenate([np.isfinite(array).ravel() for array in expected.values()])
    lines = list(_noise_lines(result, noises))
    if not known.all():
        lines.append(
            f"{np.count_nonzero(~known):,} of {known.size:,} outputs were not compared: "
            "they are NaN or infinite in the Keras model"
        )
    joined = joined[known]
    measured = dataclasses.replace(
        result,
        max_error=float(joined.max(initial=0.0)),
        mean_error=float(joined.mean()) if joined.size else 0.0,
        noise={name: found.noise for name, found in noises.items()},
        top1_agreement=_top1_agreement(expected, actual),
    )
    return _noted(measured, *lines)


def _top1_agreement(expected, actual):
    if len(expected) != 1:
        return None
    name, array = next(iter(expected.items()))
    if array.ndim != 2 or array.shape[1] < 2:
        return None
    return float(np.mean(array.argmax(axis=1) == actual[name].argmax(axis=1)))
