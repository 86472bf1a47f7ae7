"""Turns an encoded `.tflite` file into an ordinary one."""

import collections

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.coding import wire
from tfcompress.coding.wire import DECODE
from tfcompress.core.kinds import Content, Integer, checked
from tfcompress.tflite.edit import drop_buffers, drop_tensors
from tfcompress.tflite.operations import operation_name
from tfcompress.tflite.read import naming_contradictions, read, write

# Codes of `schema.TensorType`, which differ from those of the runtime.
TYPES = {
    schema.TensorType.FLOAT32: 1,
    schema.TensorType.INT32: 2,
    schema.TensorType.INT64: 4,
    schema.TensorType.INT16: 7,
    schema.TensorType.INT8: 9,
    schema.TensorType.FLOAT16: 10,
    schema.TensorType.INT4: wire.INT4,
}


# Decoded data may be this many times larger than the file, or have this size in any
# case: weights take no bits at all if all are equal, and sparse ones a thousandth.
_MAX_EXPANSION = 1000
_SMALL_BYTES = 1 << 28
# No file holds more.
_LARGEST_BYTES = (1 << 31) - 1


@checked
def decode_tflite(
    content: Content("a .tflite model"), max_bytes: Integer(1) = None
) -> bytes:
    """Decodes the constants of an encoded `.tflite` model.

    A model from `tfc.export_tflite(codec=...)` becomes an ordinary model of builtin
    operations, byte for byte the one that was encoded; so do models written by TFLite
    Micro's own compression. Other models are returned unchanged.

    It uses at most twice the memory that the tensors claim to hold; for 4-bit tensors, one
    more byte per element.

    Args:
        content: bytes of a `.tflite` model.
        max_bytes: the most bytes that its encoded tensors may claim to hold together. By
            default 256 MiB, or 1000 times the size of the file if that is more; never
            more than 2 GiB, the limit of the format.

    Returns:
        The bytes of the ordinary model.

    Raises:
        ValueError: if the file or an encoded constant is damaged, or they claim more
            than `max_bytes`.

    Example:
        >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
        >>> shared = tfc.compress(model, {".*": tfc.transforms.Codebook(8)})
        >>> path = tmp_path / "encoded.tflite"
        >>> encoded = tfc.export_tflite(shared, path, codec="huffman")
        >>> plain = tfc.decode_tflite(path.read_bytes())
        >>> encoded.size_bytes < 5000 < 16000 < len(plain)
        True
    """
    file = read(content)
    check_claims(file, len(content), max_bytes)
    return write(file, True) if decode(file) else bytes(content)


def check_claims(file, size_bytes, max_bytes=None):
    """Raises if encoded constants claim far more than a file of this size can hold.

    Args:
        file: the object form of a model.
        size_bytes: size of the file.
        max_bytes: see `decode_tflite`.

    Raises:
        ValueError: if they do, or the file contradicts itself.
    """
    if max_bytes is None:
        max_bytes = max(_SMALL_BYTES, _MAX_EXPANSION * size_bytes)
    with naming_contradictions():
        claimed = sum(
            tensor_of(graph.tensors[place]).size_bytes
            for graph in file.subgraphs
            for operation in graph.operators
            if _decodes(file, operation)
            for place in operation.outputs
        )
    if claimed > min(max_bytes, _LARGEST_BYTES):
        raise ValueError(
            f"Encoded tensors in a file of {size_bytes} bytes claim to hold {claimed}: "
            f"expected at most {min(max_bytes, _LARGEST_BYTES)}. Copy or export the file "
            "again; if it is correct, call tfc.decode_tflite(content, max_bytes=...)."
        )


def decode(file):
    """Decodes the encoded constants of a model, in place.

    Args:
        file: the object form of a model.

    Returns:
        Whether there were any.

    Raises:
        ValueError: if the file or an encoded constant is damaged.
    """
    with naming_contradictions():
        if not any(_decodes(file, o) for g in file.subgraphs for o in g.operators):
            return False
        _decode(file)
        return True


def encoding_kinds(file):
    """The kinds of encoding in a model, a `Counter` of `wire.Kind` and other numbers.

    Args:
        file: the object form of a model.
    """
    with naming_contradictions():
        return collections.Counter(
            _kind(file, graph.tensors[operation.inputs[place]])
            for graph in file.subgraphs
            for operation in graph.operators
            if _decodes(file, operation)
            for place in range(1, len(operation.inputs), 2)
        )


def _kind(file, ancillary):
    kind = int(file.buffers[ancillary.buffer].data[0])
    return wire.Kind(kind) if kind in iter(wire.Kind) else kind


def _decode(model):
    constants = _Constants(model)
    for index, graph in enumerate(model.subgraphs):
        _decode_graph(model, index, graph, constants)
    constants.write()
    _drop_operation_code(model)


def _decodes(model, operation):
    return operation_name(model, operation) == DECODE


def tensor_of(tensor):
    """The model's description of a constant, as a `wire.Tensor`.

    Raises:
        ValueError: if tensors of its type cannot be encoded.
    """
    if tensor.type not in TYPES:
        raise ValueError(f"Tensors of type {tensor.type} cannot be encoded.")
    shape = tuple(int(size) for size in (() if tensor.shape is None else tensor.shape))
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None:
        return wire.Tensor(TYPES[tensor.type], shape)
    zero_points = tuple(int(point) for point in quantization.zeroPoint)
    axis = quantization.quantizedDimension
    return wire.Tensor(TYPES[tensor.type], shape, zero_points, axis)


class _Constants:
    """The decoded constants of a model; graphs may share them."""

    def __init__(self, model):
        self._model = model
        self._next_place = len(model.buffers)
        self._places = {}
        self._contents = {}
        self._sources = set()

    def decode(self, encoded, ancillary, output):
        """Makes the tensor `output` hold what two others encode."""
        if encoded.buffer == 0 or ancillary.buffer == 0:
            raise ValueError(
                f"A {DECODE} operation reads a tensor that is not a constant."
            )
        tensor = tensor_of(output)
        key = (encoded.buffer, ancillary.buffer, tensor)
        if key not in self._places:
            parts = [self._bytes(part) for part in (encoded, ancillary)]
            content = wire.decode(wire.Encoded(*parts), tensor)
            place = encoded.buffer
            if place in self._contents or _is_slice(parts[1]):
                place = self._next_place
                self._next_place += 1
            self._places[key] = place
            self._contents[place] = content
            self._sources |= {encoded.buffer, ancillary.buffer}
        output.buffer = self._places[key]

    def _bytes(self, tensor):
        data = self._model.buffers[tensor.buffer].data
        return b"" if data is None else np.asarray(data, np.uint8).tobytes()

    def write(self):
        """Replaces the encoded tensors by the constants."""
        buffers = self._model.buffers
        for place, content in sorted(self._contents.items()):
            if place == len(buffers):
                buffers.append(schema.BufferT())
            buffers[place].data = np.frombuffer(content, np.uint8)
        tensors = [t for graph in self._model.subgraphs for t in graph.tensors]
        used = {t.buffer for t in tensors} | self._contents.keys()
        drop_buffers(self._model, self._sources - used)


def _is_slice(ancillary):
    """Whether the encoded tensor is also read as it is."""
    return ancillary[:1] == bytes([wire.Kind.SLICE])


def _decode_graph(model, index, graph, constants):
    """Replaces the decoding operations of a graph by constants."""
    decoded, replaced, extra = {}, {}, set()
    for operation in [o for o in graph.operators if _decodes(model, o)]:
        _check_places(graph, operation)
        for i, output in enumerate(map(int, operation.outputs)):
            pair = tuple(int(t) for t in operation.inputs[2 * i : 2 * i + 2])
            extra.update(pair)
            key = (pair, tensor_of(graph.tensors[output]))
            if key in decoded:
                replaced[output] = decoded[key]
                extra.add(output)
                continue
            decoded[key] = output
            constants.decode(*(graph.tensors[t] for t in (*pair, output)))
        graph.operators.remove(operation)
    drop_tensors(model, index, extra, replaced)


def _check_places(graph, operation):
    inputs, outputs = list(operation.inputs), list(operation.outputs)
    if len(inputs) != 2 * len(outputs):
        raise ValueError(f"A {DECODE} operation needs two inputs per output.")
    if any(not 0 <= place < len(graph.tensors) for place in inputs + outputs):
        raise ValueError(f"A {DECODE} operation lacks a tensor.")
    if {*inputs} & {*outputs}:
        raise ValueError(f"A {DECODE} operation reads its own output.")


def _drop_operation_code(model):
    code = next(
        i for i, c in enumerate(model.operatorCodes) if c.customCode == DECODE.encode()
    )
    del model.operatorCodes[code]
    for graph in model.subgraphs:
        for operation in graph.operators:
            operation.opcodeIndex -= operation.opcodeIndex > code
