"""Encodes constants, to be decoded when a `.tflite` file is loaded."""

import collections
import dataclasses

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.coding import encoders, wire
from tfcompress.coding.wire import DECODE
from tfcompress.tflite.decode import TYPES, decode_tflite, tensor_of
from tfcompress.tflite.edit import opcode_index
from tfcompress.tflite.operations import is_own, operation_name
from tfcompress.tflite.read import custom_operations, read, write

_METHODS = {
    "lut": encoders.lut,
    "huffman": encoders.huffman,
    "prune": encoders.prune,
    "rans": encoders.rans,
}
CODECS = ("auto", *_METHODS)
# Bytes taken by two more tensors with their buffers and a share of an operation.
OVERHEAD = 160
MIN_SIZE = 64
# Mixed decoding takes about 60 ns per decision: about 0.2 s for a file.
_MAX_DECISIONS = 4_000_000
# Stands for an operation whose constants may be encoded.
_ANY_READER = "FULLY_CONNECTED"


@dataclasses.dataclass(frozen=True)
class EncodedConstant:
    """How one constant of a file was written.

    Attributes:
        name: name of its tensor.
        shape: shape of its tensor.
        plain_bytes: its size before encoding.
        encoded_bytes: its size in the file.
        encoding: name, such as `"huffman"`; `""` if it was not encoded.
        reason: why it was not encoded.
    """

    name: str
    shape: tuple
    plain_bytes: int
    encoded_bytes: int
    encoding: str = ""
    reason: str = ""


def encode_tflite(file, codec="auto", tensors=None):
    """Encodes the constants of a `.tflite` model, see `export_tflite`.

    This is the last pass: it writes the file and checks that it decodes to the original.

    Args:
        file: the object form of a model, edited in place.
        codec: one of `CODECS`.
        tensors: those whose constants are encoded; None for all.

    Returns:
        `(content, constants)`: bytes, and an `EncodedConstant` for each constant of at
        least 64 bytes.

    Raises:
        RuntimeError: if the file does not decode to what was encoded.
    """
    constants = _constants(file)
    if tensors is not None:
        buffers = {tensor.buffer for tensor in tensors}
        constants = [c for c in constants if c.buffer in buffers]
    plain = write(file)
    is_encoded = DECODE in custom_operations(plain)
    decoded = decode_tflite(plain) if is_encoded else plain
    chosen, results, budget = {}, [], _MAX_DECISIONS
    for constant in sorted(constants, key=lambda constant: len(constant.data)):
        encoded, result, num_decisions = _encode(constant, codec, budget)
        results.append(result)
        budget -= num_decisions
        if encoded:
            chosen[constant.buffer] = encoded
    _insert(file, chosen)
    content = write(file)
    if decode_tflite(content) != decoded:
        raise RuntimeError(
            "The encoded file does not decode to the original. Nothing was written; "
            "please report the model."
        )
    if len(content) < len(plain):
        return content, tuple(results)
    # The overhead of the first constant may exceed all savings.
    vars(file).update(vars(read(plain)))
    return plain, tuple(map(_left, results))


def _left(result):
    """The result for a constant that stays although it would be smaller by itself."""
    if not result.encoding:
        return result
    return dataclasses.replace(
        result,
        encoded_bytes=result.plain_bytes,
        encoding="",
        reason="the file would not be smaller",
    )


def encoded_size(file, tensor, codec):
    """The bytes that a constant takes with a codec, or unencoded if that is less.

    Args:
        file: the object form of a model.
        tensor: one of its tensors that holds a constant.
        codec: one of `CODECS`.
    """
    constant = _Constant(file, tensor.buffer, [tensor], {_ANY_READER})
    encoded, result, _ = _encode(constant, codec, _MAX_DECISIONS)
    return result.encoded_bytes + (OVERHEAD if encoded else 0)


class _Constant:
    """A buffer of a model, the tensors that use it, and views of it as symbols."""

    def __init__(self, model, buffer, tensors, readers):
        self.buffer = buffer
        self.data = np.asarray(model.buffers[buffer].data, np.uint8).tobytes()
        self.name = (tensors[0].name or b"").decode()
        self.shape = tuple(map(int, tensors[0].shape))
        self.views = []
        self.reason = self._reason(tensors, readers)
        if not self.reason:
            kinds = (encoders.Symbols.of, encoders.Symbols.by_channel)
            views = [view(self.data, tensor_of(tensors[0])) for view in kinds]
            self.views = [view for view in views if view]
            if not self.views:
                self.reason = f"more than {encoders.MAX_VALUES} different values"

    def _reason(self, tensors, readers):
        if any(tensor.sparsity for tensor in tensors):
            return "stored sparse; sparse='never' lets it be encoded"
        if DECODE in readers:
            return "it is already encoded, or slices of it are"
        if tensors[0].type not in TYPES:
            return "its type cannot be encoded"
        if not readers:
            return "no operation reads it"
        if any(map(is_own, readers)):
            return "a binary operation reads it as it is"
        if len({tensor_of(tensor) for tensor in tensors}) > 1:
            return "tensors of different kinds share it"
        return ""


def _constants(model):
    tensors, readers = collections.defaultdict(list), collections.defaultdict(set)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensors[tensor.buffer].append(tensor)
        shown = {*graph.inputs, *graph.outputs}
        for operation in graph.operators:
            for t in operation.inputs:
                if t >= 0 and t not in shown:
                    name = operation_name(model, operation)
                    readers[graph.tensors[t].buffer].add(name)
    return [
        _Constant(model, buffer, shown, readers[buffer])
        for buffer, shown in tensors.items()
        if model.buffers[buffer].data is not None
        and len(model.buffers[buffer].data) >= MIN_SIZE
    ]


def _encode(constant, codec, budget):
    """The smallest encoding or None, its `EncodedConstant`, its mixed decisions."""
    size, encoded, method, num_decisions = len(constant.data), None, "", 0
    reason = constant.reason
    if not reason:
        options = _options(constant.views, codec, budget)
        best = min(options, key=lambda option: option[0].size_bytes)
        if best[0].size_bytes + OVERHEAD < size:
            encoded, method, num_decisions = best
        else:
            reason = "it would not be smaller"
    result = EncodedConstant(
        constant.name,
        constant.shape,
        size,
        encoded.size_bytes if encoded else size,
        method,
        reason,
    )
    return encoded, result, num_decisions


def _options(views, codec, budget):
    """`(encoded, name, mixed decisions)` of all candidates."""
    names = _METHODS if codec == "auto" else [codec]
    if codec not in ("auto", "rans"):
        # Candidates that TFLite Micro reads, if there are any.
        views = views[:1]
    options = []
    for symbols in views:
        for name in names:
            for encoded in _METHODS[name](symbols):
                # Biases use packed indices instead of Huffman codes.
                is_lut = encoded.ancillary[0] == wire.Kind.LUT
                options.append((encoded, "lut" if is_lut else name, 0))
        if codec in ("auto", "rans"):
            found = encoders.adaptive_rans(symbols)
            options += [(encoded, "adaptive rans", 0) for encoded in found]
            cost = encoders.num_decisions(symbols)
            found = encoders.mixing(symbols) if cost <= budget else []
            options += [(encoded, "mixing", cost) for encoded in found]
    return options


def _insert(model, chosen):
    """Inserts encoded constants, and operations that decode them for their readers."""
    ancillary = {}
    for buffer, encoded in chosen.items():
        model.buffers[buffer].data = np.frombuffer(encoded.content, np.uint8)
        model.buffers.append(schema.BufferT())
        model.buffers[-1].data = np.frombuffer(encoded.ancillary, np.uint8)
        ancillary[buffer] = len(model.buffers) - 1
    for graph in model.subgraphs:
        _insert_in_graph(model, graph, ancillary)


def _insert_in_graph(model, graph, ancillary):
    """Decodes each constant for all readers, before the first one."""
    operations = []
    for operation in graph.operators:
        read = [i for i in dict.fromkeys(map(int, operation.inputs)) if i >= 0]
        encoded = [i for i in read if graph.tensors[i].buffer in ancillary]
        if encoded:
            pairs = [_add_pair(model, graph, i, ancillary) for i in encoded]
            operations.append(decode_operation(model, encoded, pairs))
        operations.append(operation)
    graph.operators = operations


def _add_pair(model, graph, index, ancillary):
    """Adds the encoded and ancillary tensors; the tensor is no longer a constant."""
    tensor = graph.tensors[index]
    parts = tensor.buffer, ancillary[tensor.buffer]
    tensor.buffer = 0
    return [add_part(model, graph, buffer) for buffer in parts]


def add_part(model, graph, buffer):
    """The index of a new tensor of a graph that shows a buffer as bytes."""
    part = schema.TensorT()
    part.type = schema.TensorType.UINT8
    part.shape = np.array([len(model.buffers[buffer].data)], np.int32)
    part.buffer = buffer
    graph.tensors.append(part)
    return len(graph.tensors) - 1


def decode_operation(model, outputs, pairs):
    """An operation that decodes constants.

    Args:
        model: the object form of a model; the operation code is added to it.
        outputs: indices of the decoded tensors.
        pairs: for each of them, the indices of the encoded and the ancillary bytes.
    """
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = DECODE.encode()
    operation = schema.OperatorT()
    operation.opcodeIndex = opcode_index(model, code)
    operation.inputs = np.array(pairs, np.int32).ravel()
    operation.outputs = np.array(outputs, np.int32)
    return operation


def encoding_lines(constants):
    """One line per encoding, and one per reason for not encoding."""
    groups = collections.defaultdict(list)
    for constant in constants:
        groups[constant.encoding or f"not encoded: {constant.reason}"].append(constant)
    return [
        f"{kind}: {len(group)} constants, {sum(c.plain_bytes for c in group):,} -> "
        f"{sum(c.encoded_bytes for c in group):,} bytes"
        for kind, group in groups.items()
    ]
