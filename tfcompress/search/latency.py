"""Latency of `.tflite` files from a table of the times of operations."""

import json
import math
import pathlib
import statistics

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.core.files import check_writable, write_atomically
from tfcompress.core.kinds import Content, FilePath, Integer, checked
from tfcompress.measuring.measure import set_examples, times_ms
from tfcompress.runtime.host import cached_path, here
from tfcompress.runtime.interpreter import loaded, read_model
from tfcompress.tflite.decode import check_claims, decode
from tfcompress.tflite.fused import fused_operations
from tfcompress.tflite.read import naming_contradictions, read, write

_CALL, _TIMES = "call", "milliseconds"
# The smallest median of several short measurements that are spread over time, since other
# work on the machine comes and goes.
_ROUNDS, _SECONDS, _RUNS, _WARM_UP = 5, 0.005, 3, 3
# How many copies of an operation a file holds, so that they take longer than a call.
_FEW, _MANY = 4, 64
# Limit of what copies write together: it stays in caches, like a network's activations.
_NEAR_BYTES = 1 << 15
# Exponents of 4: sizes of a network's constants are rounded to 256 KiB ... 64 MiB.
_LEAST_POWER, _MOST_POWER = 9, 13


class LatencyTable:
    """Predicts the latency of `.tflite` files on this processor.

    `latency = call + Σ_i time(operation_i)`: operations as the runtime fuses them, by
    type, options, shapes and dtypes. Operations missing from the table are measured at
    once, in files that hold only `n` copies of an operation, with random weights:
    `time = (latency of the copies - call) / n`. `call` is the time to run a file that
    does nothing. Whole networks are never measured.

    Weights come from caches or from memory, depending on how many others a network reads in
    between. Where the weights of an operation exceed what it writes, the table has a time
    for each power of 4 of a network's constants in bytes, measured with copies that hold
    as many bytes together. Switching from XNNPACK to operations that it does not run, and
    back, takes about 0.1 µs and is not counted.

    The table is a JSON file. It holds the processor's name, the runtime's version and
    the number of threads, and is rejected where these differ. It is written after each
    file that required measurements, so at most these are lost if the process ends;
    several processes may use it. Nothing else should run during measurements.

    Args:
        path: path of the table, which need not exist; None for the one of this processor,
            runtime and number of threads in `tfcompress` in the user's cache folder
            (`XDG_CACHE_HOME` or `~/.cache`).
        num_threads: threads that kernels may use.

    Raises:
        ValueError: if the file is not such a table, or is one of another processor, version
            or number of threads, or if the path cannot be written.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> file = tfc.export_tflite(model, tmp_path / "model.tflite")
        >>> table = LatencyTable(tmp_path / "table.json")
        >>> table.predict(file.path) > 0
        True
        >>> len(table)  # One operation, and the call.
        2

    Source: Cai et al., "ProxylessNAS" (2019), appendix B; Zhang et al., "nn-Meter"
    (2021), on fused operations.
    """

    @checked
    def __init__(self, path: FilePath("a table") = None, num_threads: Integer(1) = 1):
        self.num_threads = num_threads
        self._made_on = here(num_threads)
        self.path = pathlib.Path(path or _usual_path(self._made_on))
        check_writable(self.path)
        self._times = self._stored()

    def __len__(self):
        return len(self._times)

    @checked
    def predict(self, model: FilePath("a .tflite file") | Content("one")):
        """The latency of a file in milliseconds.

        Args:
            model: path of a `.tflite` file, or its bytes; if it has several signatures, the
                first graph is used.

        Returns:
            Milliseconds of one run, as `tfc.benchmark` measures them (`median_ms`).

        Raises:
            FileNotFoundError: if the path does not exist.
            ValueError: if the file is not a TFLite model, or an operation that is
                missing from the table does not run by itself.
        """
        content, name = read_model(model)
        with naming_contradictions():
            file = read(content)
            check_claims(file, len(content))
            # Encoded weights are decoded when a file is loaded, not when it runs.
            decode(file)
            operations = fused_operations(file)
        among = _power(sum(operation.constant_bytes for operation in operations))
        keyed = [(_key(operation, among), operation) for operation in operations]
        unknown = {key: one for key, one in keyed if key not in self._times}
        if unknown or _CALL not in self._times:
            self._measure(unknown, among, name)
        return math.fsum(self._times[key] for key in (_CALL, *(k for k, _ in keyed)))

    def _measure(self, operations, among, name):
        """Adds operations, `{key: operation}`, to the table."""
        copies = {key: _copies(one, among) for key, one in operations.items()}
        least = dict.fromkeys([_CALL, *operations], math.inf)
        for _ in range(_ROUNDS):
            least[_CALL] = min(
                least[_CALL], _milliseconds(_no_work(), self.num_threads)
            )
            for key, operation in operations.items():
                taken = self._taken(operation, copies[key], name)
                least[key] = min(least[key], taken)
        call = min(least[_CALL], self._times.get(_CALL, math.inf))
        found = {k: max(least[k] - call, 0.0) / copies[k] for k in operations}
        # Other processes may have written to it in the meantime.
        self._times = {**self._stored(), **self._times, _CALL: call, **found}
        content = {**self._made_on, _TIMES: self._times}
        write_atomically(self.path, json.dumps(content, indent=1))

    def _taken(self, operation, copies, name):
        try:
            return _milliseconds(operation.content(copies), self.num_threads)
        except (ValueError, RuntimeError) as error:
            raise ValueError(
                f"{' + '.join(operation.names)} of {name} does not run by itself, so "
                f"its time is unknown: {error} Measure the file with tfc.benchmark."
            ) from error

    def _stored(self):
        """The times in the file, if it exists."""
        if not self.path.exists():
            return {}
        try:
            found = json.loads(self.path.read_text())
            times = {key: float(time) for key, time in found[_TIMES].items()}
            is_table = all(0 <= time < math.inf for time in times.values())
        except (AttributeError, KeyError, TypeError, ValueError):
            is_table = False
        if not is_table:
            raise ValueError(
                f"{str(self.path)!r} is no latency table, or a damaged one: expected the "
                "JSON that LatencyTable writes. Delete it to measure the times again, "
                "or pass another path."
            )
        for what, value in self._made_on.items():
            if found.get(what) != value:
                raise ValueError(
                    f"The times in {str(self.path)!r} were measured with {what} "
                    f"{found.get(what)!r}: expected {value!r}. Pass another path, or none."
                )
        return times


def _usual_path(made_on):
    try:
        return cached_path("latency", made_on)
    except OSError as error:
        raise ValueError(
            f"Cannot make the folder {error.filename!r} for the latency table: "
            f"{error.strerror}. Pass a path: LatencyTable(path)."
        ) from error


def _power(size_bytes):
    """The power of 4 closest to a number of bytes."""
    power = round(math.log(max(size_bytes, 1), 4))
    return 4 ** min(max(power, _LEAST_POWER), _MOST_POWER)


def _reads_much(operation):
    return operation.constant_bytes > operation.output_bytes


def _key(operation, among):
    if not _reads_much(operation):
        return operation.key
    return f"{operation.key} among {among} bytes of constants"


def _copies(operation, among):
    if _reads_much(operation):
        return min(max(round(among / operation.constant_bytes), 1), _MANY)
    return min(max(_NEAR_BYTES // max(operation.output_bytes, 1), _FEW), _MANY)


def _milliseconds(content, num_threads):
    """How long a model takes when nothing else runs, on inputs that it accepts."""
    interpreter = loaded(content, num_threads, "Its file")
    set_examples(interpreter)
    for _ in range(_WARM_UP):
        interpreter.invoke()
    return statistics.median(times_ms(interpreter.invoke, _RUNS, _SECONDS))


def _no_work():
    """A model with one operation on one number."""
    tensors = [schema.TensorT() for _ in range(2)]
    for tensor in tensors:
        tensor.shape, tensor.type = np.array([1], np.int32), schema.TensorType.FLOAT32
    operation, code = schema.OperatorT(), schema.OperatorCodeT()
    operation.inputs, operation.outputs = np.int32([0]), np.int32([1])
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RELU
    graph, file = schema.SubGraphT(), schema.ModelT()
    graph.tensors, graph.operators = tensors, [operation]
    graph.inputs, graph.outputs = operation.inputs, operation.outputs
    file.version, file.subgraphs, file.operatorCodes = 3, [graph], [code]
    file.buffers = [schema.BufferT()]
    return write(file)
