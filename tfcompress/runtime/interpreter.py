"""Runs `.tflite` files."""

import pathlib
import threading

import numpy as np
from ai_edge_litert import interpreter as litert

from tfcompress import native
from tfcompress.core.errors import check_finite
from tfcompress.core.kinds import Content, FilePath, Integer, Text, checked
from tfcompress.core.plugin import did_you_mean
from tfcompress.core.quiet import native_notes_dropped
from tfcompress.core.samples import rounded_up
from tfcompress.core.warn import warn
from tfcompress.runtime.delegate import decoded, has_encoded_weights, loadable
from tfcompress.tflite.read import naming_contradictions, signature_graphs

_USUAL_SIGNATURE = "serving_default"


class Interpreter:
    """A loaded `.tflite` model: arrays in, arrays out.

    Inputs and outputs have their signature names. Arrays hold real numbers, whatever their
    type: they are quantized for integer inputs, and integer outputs are dequantized, with
    the scales in the file, so that a float file and an int8 file of the same model are
    called in the same way, also with images of bytes. Batches larger than the file's run in
    parts, the last one filled up. The native delegate handles encoded weights and binary
    operations. Stateful layers keep their state from one sample, and one call, to the next;
    a new interpreter starts from the initial state. Threads that share an interpreter run
    one after another, since it has one set of tensors; with separate interpreters, they run
    at the same time.

    Args:
        model: path of a file, or its bytes.
        num_threads: threads that kernels may use.
        signature: name of the signature to run, for a file with several; None for
            `"serving_default"`, or else the first by name.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if the file is not a TFLite model, an operation is not supported, or
            there is no such signature.
        NativeError: if the file holds binary operations and the native core was not
            built.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> result = tfc.export_tflite(model, tmp_path / "model.tflite")
        >>> with Interpreter(tmp_path / "model.tflite") as interpreter:
        ...     interpreter.run(np.ones((3, 4), "float32")).shape
        (3, 2)
    """

    @checked
    def __init__(
        self,
        model: FilePath("a .tflite file") | Content("one"),
        num_threads: Integer(1) = 1,
        signature: Text() = None,
    ):
        content, self.name = read_model(model)
        self._interpreter = loaded(content, num_threads, self.name)
        self._runner = None
        self._lock = threading.Lock()
        with naming_contradictions():
            self._inputs = _by_name(self._interpreter.get_input_details())
            self._outputs = _by_name(self._interpreter.get_output_details())
            if key := self._chosen(signature):
                is_first = signature_graphs(content)[key] == 0
                self._use(self._interpreter.get_signature_runner(key), is_first)
        if not self._inputs or not self._outputs:
            raise ValueError(
                f"{self.name} has {len(self._inputs)} inputs and {len(self._outputs)} "
                "outputs: expected at least one of each."
            )

    def _chosen(self, signature):
        """The name of the signature to run; None if the file has none."""
        known = list(self._interpreter.get_signature_list())
        if signature is None:
            first = (
                _USUAL_SIGNATURE
                if _USUAL_SIGNATURE in known
                else min(known, default=None)
            )
            if len(known) > 1:
                warn(
                    f"{self.name} has the signatures {known}: {first!r} is used. Choose "
                    "with Interpreter(model, signature=...).",
                )
            return first
        if signature not in known:
            raise ValueError(
                f"{self.name} has no signature {signature!r}: expected one of {known}."
                f"{did_you_mean(str(signature), known)}"
            )
        return signature

    def _use(self, runner, is_first):
        """Reads the names of a signature, and keeps its runner if it has its own graph.

        Graphs that differ only in sizes may have ends with equal names and indices.
        """
        found = runner.get_input_details(), runner.get_output_details()
        own = self._inputs, self._outputs
        places = [{_tensor(d): i for i, d in enumerate(side.values())} for side in own]
        is_same = [{*map(_tensor, side.values())} for side in found] == list(
            map(set, places)
        )
        is_only = len(self._interpreter.get_signature_list()) == 1
        if not is_first or not (is_same or is_only):
            self._runner = runner
            self._inputs, self._outputs = found
            return
        # Several names may stand for the same tensor.
        self._inputs, self._outputs = (
            dict(sorted(side.items(), key=lambda item: order[_tensor(item[1])]))
            for side, order in zip(found, places, strict=True)
        )

    @property
    def input_details(self):
        """`{name: {shape, dtype, quantization, ...}}`."""
        return dict(self._inputs)

    @property
    def output_details(self):
        """`{name: {shape, dtype, quantization, ...}}`."""
        return dict(self._outputs)

    def run(self, inputs, raw=False):
        """Runs the model on a batch.

        Args:
            inputs: an array, or `{name: array}` for several inputs; the first axis is
                the batch.
            raw: whether integers are the file's own, neither quantized as inputs
                nor dequantized as outputs.

        Returns:
            An array, or `{name: array}` for several outputs.

        Raises:
            ValueError: if a name or shape does not match, or values are not real or not
                finite, are integers that the input cannot hold, or make an operation
                fail. Floats beyond the range of an integer input are clipped.
        """
        arrays = self._named(inputs)
        batches = {
            name: self._split(name, array, raw) for name, array in arrays.items()
        }
        sizes = {name: self._inputs[name]["shape"][0] for name in arrays}
        if len({len(array) / sizes[name] for name, array in arrays.items()}) > 1:
            raise ValueError(
                f"Inputs of {self.name} have different batch sizes: "
                f"{ {name: len(array) for name, array in arrays.items()} }."
            )
        with self._lock:
            if self._interpreter is None:
                raise ValueError(f"{self.name} is closed; open it again to run it.")
            count = len(next(iter(batches.values())))
            results = [self._invoke(batches, i, raw) for i in range(count)]
        joined = {
            name: np.concatenate([np.atleast_1d(r[name]) for r in results])
            for name in self._outputs
        }
        name = next(iter(arrays))
        given, whole = len(arrays[name]), count * sizes[name]
        joined = {
            name: array[:given] if len(array) == whole else array
            for name, array in joined.items()
        }
        return joined if len(joined) > 1 else next(iter(joined.values()))

    def _named(self, inputs):
        if not isinstance(inputs, dict):
            if len(self._inputs) > 1:
                raise ValueError(
                    f"{self.name} has the inputs {list(self._inputs)}: pass "
                    "{name: array}."
                )
            inputs = {next(iter(self._inputs)): inputs}
        for name in inputs:
            if name not in self._inputs:
                raise ValueError(
                    f"{self.name} has no input {name!r}; it has {list(self._inputs)}."
                    f"{did_you_mean(name, self._inputs)}"
                )
        missing = [name for name in self._inputs if name not in inputs]
        if missing:
            raise ValueError(f"{self.name} also needs the inputs {missing}.")
        return {name: np.asarray(array) for name, array in inputs.items()}

    def _split(self, name, array, raw):
        """The array in the file's dtype, cut into pieces of the file's batch size."""
        detail = self._inputs[name]
        shape = tuple(detail["shape"])
        if array.ndim != len(shape) or array.shape[1:] != shape[1:]:
            raise ValueError(
                f"Input {name!r} of {self.name} has shape {array.shape}: expected "
                f"(batch, {', '.join(map(str, shape[1:]))})."
            )
        count = len(array)
        if not count:
            raise ValueError(
                f"Input {name!r} of {self.name} holds no samples: expected some."
            )
        whole = rounded_up(count, shape[0])
        if whole > count:
            array = array[np.minimum(np.arange(whole), count - 1)]
        convert = _as_they_are if raw else quantized
        return np.split(convert(array, detail), whole // shape[0])

    def _invoke(self, batches, index, raw):
        given = {name: parts[index] for name, parts in batches.items()}
        try:
            values = self._runner(**given) if self._runner else self._run_first(given)
        except RuntimeError as error:
            raise ValueError(
                f"{self.name} cannot run on these inputs: {str(error).splitlines()[0]} "
                "Expected values that its operations take, such as indices that its "
                "tables have."
            ) from error
        if raw:
            return values
        return {
            name: dequantized(value, self._outputs[name])
            for name, value in values.items()
        }

    def _run_first(self, given):
        for name, part in given.items():
            self._interpreter.set_tensor(self._inputs[name]["index"], part)
        self._interpreter.invoke()
        return {
            name: self._interpreter.get_tensor(detail["index"])
            for name, detail in self._outputs.items()
        }

    def close(self):
        """Frees the model as soon as no other thread runs it."""
        with self._lock:
            self._interpreter = self._runner = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def _by_name(details):
    return {detail["name"]: detail for detail in details}


def _tensor(detail):
    return detail["index"], detail["name"]


def loaded(content, num_threads, name):
    """LiteRT's interpreter, with the native delegate for files that need it.

    Args:
        content: bytes of a `.tflite` model.
        num_threads: threads that kernels may use.
        name: name of the model, for errors.

    Raises:
        ValueError: if it cannot be loaded.
        NativeError: if it needs the native core, which was not built.
    """
    try:
        return _with_delegate(content, num_threads)
    except native.NativeError:
        raise
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"{name} cannot be loaded: {str(error).splitlines()[0]} Expected a complete "
            ".tflite file whose operations this runtime knows; write it again with "
            "tfc.export_tflite."
        ) from error


def _with_delegate(content, num_threads):
    plain, delegate = loadable(content)
    try:
        return _allocated(plain, num_threads, delegate)
    except (ValueError, RuntimeError):
        if not delegate or not has_encoded_weights(content):
            raise
    # LiteRT itself refuses encoded bytes with per-channel scales, as written by
    # TFLite Micro's compressor.
    plain, delegate = decoded(content)
    return _allocated(plain, num_threads, delegate)


def _allocated(content, num_threads, delegate):
    with native_notes_dropped():
        interpreter = litert.Interpreter(
            model_content=content,
            num_threads=num_threads,
            experimental_delegates=[litert.load_delegate(delegate)]
            if delegate
            else None,
        )
        interpreter.allocate_tensors()
    return interpreter


def quantized(array, detail):
    """Real numbers in a tensor's dtype, rounded to its scale for integer types.

    Raises:
        ValueError: if they are not real or not finite, or are integers that the tensor
            cannot hold.
    """
    dtype, name = np.dtype(detail["dtype"]), f"Input {detail['name']!r}"
    if array.dtype.kind not in "fiub":
        raise ValueError(
            f"{name} takes real numbers, got {array.dtype}. Convert the array: "
            "x.astype('float32')."
        )
    if array.dtype.kind == "f":
        check_finite(name, array)
    scale, zero_point = detail["quantization"]
    if dtype.kind not in "iu":
        return array.astype(dtype)
    if not scale:
        return _as_they_are(array, detail)
    limits = np.iinfo(dtype)
    if array.dtype.kind != "f":
        reach = np.array([limits.min, limits.max])
        _check_held(name, array, *((reach - zero_point) * np.float64(scale)), scale)
    levels = np.rint(array / np.float64(scale)) + zero_point
    return np.clip(levels, limits.min, limits.max).astype(dtype)


def _as_they_are(array, detail):
    """Numbers in a tensor's dtype, without scaling; raises if it cannot hold them."""
    dtype, name = np.dtype(detail["dtype"]), f"Input {detail['name']!r}"
    if dtype.kind not in "iu":
        return array.astype(dtype)
    if array.dtype.kind not in "iub":
        raise ValueError(
            f"{name} takes {dtype} values, got {array.dtype}. Convert the array: "
            "x.astype(...)."
        )
    _check_held(name, array, np.iinfo(dtype).min, np.iinfo(dtype).max)
    return array.astype(dtype)


def _check_held(name, integers, low, high, step=0.0):
    least, most = integers.min(), integers.max()
    if least >= low - step / 2 and most <= high + step / 2:
        return
    raise ValueError(
        f"{name} takes numbers from {low:.6g} to {high:.6g}, got integers from {least} to "
        f"{most}. Scale them as in training; pass raw=True if they are the file's own."
    )


def dequantized(array, detail):
    """A tensor's values as real numbers."""
    scale, zero_point = detail["quantization"]
    if array.dtype.kind not in "iu" or not scale:
        return array
    return ((array.astype(np.float32) - zero_point) * scale).astype(np.float32)


def read_model(model):
    """The bytes and the name of a model given as a path or as bytes."""
    if isinstance(model, (bytes, bytearray)):
        return _checked(bytes(model), "The model"), "The model"
    path = pathlib.Path(model)
    if not path.is_file():
        raise FileNotFoundError(f"No file {str(path)!r}; expected a .tflite model.")
    return _checked(path.read_bytes(), path.name), path.name


def _checked(content, name):
    if content[4:8] != b"TFL3":
        raise ValueError(
            f"{name} is not a TFLite model: it has no TFL3 mark at byte 4 "
            f"({len(content)} bytes). Write it again with tfc.export_tflite."
        )
    return content
