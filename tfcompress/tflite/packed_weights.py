"""Stores the weights of a float file as packed integers that LiteRT computes with."""

import collections
import dataclasses

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.core.grid import (
    BlockGrid,
    block_grid,
    integer_grid,
    rounded_to_bfloat16,
)
from tfcompress.core.nibbles import pack_nibbles
from tfcompress.tflite.edit import drop_buffers, drop_tensors, drop_unused_codes
from tfcompress.tflite.operations import constant, operation_name
from tfcompress.tflite.rewrite import Rewrite

# XNNPACK's kernels read blocks of multiples of 32 inputs.
BLOCK_SIZES = (256, 128, 64, 32)
_BLOCK_SIZE = BLOCK_SIZES[-1]
# With fewer weights, as in TensorFlow's converter, rounding costs more than it saves.
_LEAST_WEIGHTS = 1024
_LEVEL, _LEVEL_OF_4_BITS = 127, 7
# The smallest step of blocks, which are stored as float16.
_LEAST_STEP = 2.0**-24
_IS_BLOCKWISE = schema.QuantizationDetails.BlockwiseQuantization


@dataclasses.dataclass(frozen=True)
class _Role:
    """How an operation reads a constant.

    Attributes:
        axis: the axis of its outputs, each of which has a scale.
        in_4_bits: why it is not stored with 4 bits; None if it is.
        at_load: whether the weights become float again when the file is loaded.
    """

    axis: int = 0
    in_4_bits: str | None = None
    at_load: bool = False


_ROWS = _Role()
_FILTERS = _Role(in_4_bits="LiteRT would unpack 4-bit weights on every call")
_DEPTHWISE = _Role(
    axis=3,
    in_4_bits="LiteRT unpacks only 8-bit weights when it loads a file",
    at_load=True,
)
_ROLES = {
    ("FULLY_CONNECTED", 1): _ROWS,
    ("GATHER", 0): _ROWS,
    ("CONV_2D", 1): _FILTERS,
    ("TRANSPOSE_CONV", 1): _FILTERS,
    ("DEPTHWISE_CONV_2D", 1): _DEPTHWISE,
}


def pack_weights(file, bits):
    """Stores float weights as integers; activations stay float.

    LiteRT rounds the inputs of dense and convolution layers to 8 bits while it runs, with a
    range for each row, and multiplies integers ("dynamic range"). It looks up rows of
    embeddings in their packed form. Depthwise kernels become float when the file is
    loaded, since their integer kernel is several times slower than the float one.

    Weights that lie on a symmetric grid with a step for each output keep it exactly. With 4
    bits, so do weights on a grid with a step for each block of 32, 64, 128 or 256 inputs of
    an output, up to rounding of the steps to 8 significant bits; if its zero is not in the
    middle, `w = s (q + o)`, offsets are added to the products:

        y_r = Σ_b s_rb Σ_{i in b} q_ri x_i + Σ_b s_rb o_rb Σ_{i in b} x_i

    Other weights are rounded to the nearest levels: with 8 bits, `max|w| / 127` for each
    output; with 4 bits, `max|w| / 7` for each block of 32 inputs, or for each output if 32
    does not divide the inputs. Convolutions stay at 8 bits.

    Args:
        file: the object form of a float32 model, edited in place.
        bits: 4 or 8.

    Returns:
        One line per kind of operation and reason for not storing constants as requested.
    """
    packing = _Packing(file, bits)
    for index, graph in enumerate(file.subgraphs):
        packing.pack(graph)
        drop_tensors(file, index, packing.replaced.pop(id(graph), set()))
    drop_unused_codes(file)
    used = {tensor.buffer for graph in file.subgraphs for tensor in graph.tensors}
    drop_buffers(file, packing.sources - used)
    return packing.notes()


class _Packing:
    def __init__(self, file, bits):
        self.file = file
        self.bits = bits
        # Buffers of weights that are stored otherwise, and tensors nothing reads any more.
        self.sources, self.replaced = set(), collections.defaultdict(set)
        self._kept = collections.Counter()
        # Graphs share constants.
        self._forms, self._buffers = {}, {}

    def notes(self):
        return tuple(
            f"stayed {kind}: constants of {count} {name}: {reason}"
            for (kind, name, reason), count in self._kept.items()
        )

    def pack(self, graph):
        """Packs the constants of a graph."""
        readers = collections.defaultdict(list)
        for operation in graph.operators:
            for position, place in enumerate(operation.inputs):
                readers[int(place)].append((operation, position))
        before, instead = collections.defaultdict(list), {}
        for place, read in readers.items():
            weight = self._weight(graph, place)
            form = None if weight is None else self._form(weight, graph, place, read)
            if form is None:
                continue
            rewrites = [Rewrite(self.file, graph, operation) for operation, _ in read]
            self.sources.add(graph.tensors[place].buffer)
            if form.role.at_load:
                self.replaced[id(graph)].add(place)
                unpacking = _unpacked(rewrites, place, form, self._buffer)
                before[id(read[0][0])].append(unpacking)
                continue
            self._store(rewrites[0], graph.tensors[place], form)
            for rewrite in rewrites:
                instead[id(rewrite.operation)] = self._reader(rewrite, place, form)
        graph.operators = [
            step
            for operation in graph.operators
            for step in (
                *before[id(operation)],
                *instead.get(id(operation), [operation]),
            )
        ]

    def _weight(self, graph, place):
        """The float constant at an index if it may be weights, else None."""
        if place < 0 or place in graph.outputs:
            return None
        tensor = graph.tensors[place]
        if tensor.type != schema.TensorType.FLOAT32:
            return None
        values = constant(self.file, tensor)
        if values is None or len(tensor.shape) < 2:
            return None
        return values.reshape(tensor.shape)

    def _form(self, weight, graph, place, read):
        """The `_Form` of a constant; None, with a line in the notes, if it stays float."""
        names = [operation_name(self.file, operation) for operation, _ in read]
        roles = {self._role(graph, *each) for each in read}
        if weight.size < _LEAST_WEIGHTS:
            reason = f"fewer than {_LEAST_WEIGHTS} numbers"
            return None if roles == {None} else self._keep("float", names, reason)
        if len(roles) > 1 or None in roles:
            return self._keep("float", names, "no kernel computes with packed ones")
        (role,) = roles
        key = graph.tensors[place].buffer, role
        if key not in self._forms:
            self._forms[key] = _form_of(weight, role, self.bits)
        form, reason = self._forms[key]
        if reason:
            self._keep("at 8 bits", names, reason)
        return form

    def _keep(self, kind, names, reason):
        self._kept.update({(kind, name, reason): 1 for name in names})

    def _role(self, graph, operation, position):
        name = operation_name(self.file, operation)
        if name != "GATHER":
            return _ROLES.get((name, position))
        options = operation.builtinOptions
        is_lookup = options is None or (options.axis == 0 and options.batchDims == 0)
        table = graph.tensors[operation.inputs[0]]
        ids = graph.tensors[operation.inputs[1]]
        is_lookup &= len(table.shape) == 2 and ids.type == schema.TensorType.INT32
        return _ROLES.get((name, position)) if is_lookup else None

    def _buffer(self, tensor, form):
        """The index of a buffer with the codes; equal constants share it."""
        key = tensor.buffer, form.role
        if key not in self._buffers:
            codes = form.codes
            packed = pack_nibbles(codes) if form.bits == 4 else codes
            self.file.buffers.append(schema.BufferT())
            self.file.buffers[-1].data = np.frombuffer(packed.tobytes(), np.uint8)
            self._buffers[key] = len(self.file.buffers) - 1
        return self._buffers[key]

    def _store(self, rewrite, tensor, form):
        tensor.buffer, tensor.type = self._buffer(tensor, form), form.type
        if form.grid is None:
            tensor.quantization = _channel_steps(form)
            return
        steps = _stored_steps(form.grid.scales)
        blocks = schema.BlockwiseQuantizationT()
        blocks.blockSize, blocks.zeroPoints = form.grid.block_size, -1
        blocks.scales = rewrite.constant(steps.astype(np.float16), b"steps")
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.detailsType = _IS_BLOCKWISE
        tensor.quantization.details = blocks

    def _reader(self, rewrite, place, form):
        """The operations that read a packed constant instead of an operation."""
        if operation_name(self.file, rewrite.operation) == "GATHER":
            return _lookup(rewrite, place, form.offsets)
        if operation_name(self.file, rewrite.operation) != "FULLY_CONNECTED":
            return [rewrite.operation]
        # The inputs of a row need not be centered around zero.
        rewrite.operation.builtinOptions.asymmetricQuantizeInputs = True
        if form.offsets is None:
            return [rewrite.operation]
        return _product_with_offsets(rewrite, form.offsets)


@dataclasses.dataclass(frozen=True)
class _Form:
    """A constant as integers.

    Attributes:
        role: its `_Role`.
        bits: 4 or 8.
        codes: integers in the shape of the constant.
        scales: one for each output; None if blocks have their own.
        grid: a `BlockGrid` with several blocks per output, or None.
        offsets: numbers to add to the weights of each block, `(outputs, blocks)`; None if
            there are none.
    """

    role: _Role
    bits: int
    codes: np.ndarray
    scales: np.ndarray | None = None
    grid: BlockGrid | None = None
    offsets: np.ndarray | None = None

    @property
    def type(self):
        return schema.TensorType.INT4 if self.bits == 4 else schema.TensorType.INT8


def _form_of(weight, role, bits):
    """`(form, why it has 8 bits although 4 were requested)`."""
    rows = np.moveaxis(weight, role.axis, 0).reshape(weight.shape[role.axis], -1)
    scales, levels = integer_grid(rows.T, _LEVEL)
    reason = None
    if bits == 4:
        reason = role.in_4_bits or _reason_for_8_bits(rows, levels)
        grid = None if role.in_4_bits or rows.shape[1] % 2 else _grid_of_4_bits(rows)
        if grid is None and not reason:
            grid = _rounded(rows)
        if grid is not None:
            return _form_of_4_bits(role, grid), None
    peaks = np.abs(rows).max(axis=1)
    scales = np.where(levels > 0, scales, peaks / _LEVEL)
    scales = np.where(scales > 0, scales, 1.0)
    codes = np.rint(rows / scales[:, None]).astype(np.int8)
    moved = np.delete(weight.shape, role.axis)
    codes = np.moveaxis(codes.reshape(len(rows), *moved), 0, role.axis)
    return _Form(role, 8, np.ascontiguousarray(codes), scales), reason


def _reason_for_8_bits(rows, levels):
    if rows.shape[1] % 2:
        return "they have an odd number of inputs"
    return "they lie on a finer grid" if levels.all() else None


def _grid_of_4_bits(rows):
    """The `BlockGrid` on which rows lie, preferably one without offsets, else None."""
    inputs, found = rows.shape[1], None
    for size in (inputs, *(s for s in BLOCK_SIZES if s < inputs and inputs % s == 0)):
        grid = block_grid(rows, size)
        if grid is not None and not grid.offsets.any():
            return grid
        found = found or grid
    return found


def _rounded(rows):
    """The `BlockGrid` with the nearest levels."""
    size = rows.shape[1]
    size = size if size % _BLOCK_SIZE else _BLOCK_SIZE
    blocks = rows.reshape(len(rows), -1, size)
    scales = np.abs(blocks).max(axis=2) / _LEVEL_OF_4_BITS
    scales = np.where(scales > 0, scales, 1.0)
    if scales.shape[1] > 1:
        scales = _stored_steps(scales)
    codes = np.rint(blocks / scales[..., None])
    codes = np.clip(codes, -_LEVEL_OF_4_BITS, _LEVEL_OF_4_BITS).astype(np.int8)
    return BlockGrid(codes.reshape(rows.shape), scales, np.zeros_like(scales))


def _form_of_4_bits(role, grid):
    offsets = grid.scales * grid.offsets
    offsets = offsets.astype(np.float32) if offsets.any() else None
    if grid.scales.shape[1] == 1:
        return _Form(role, 4, grid.codes, grid.scales[:, 0], None, offsets)
    return _Form(role, 4, grid.codes, None, grid, offsets)


def _stored_steps(scales):
    """Steps of blocks that LiteRT computes with exactly."""
    return np.maximum(rounded_to_bfloat16(scales), _LEAST_STEP)


def _channel_steps(form):
    quantization = schema.QuantizationParametersT()
    quantization.scale = form.scales.astype(np.float32)
    quantization.zeroPoint = np.zeros(len(form.scales), np.int64)
    quantization.quantizedDimension = form.role.axis
    return quantization


def _unpacked(rewrites, place, form, buffer_of):
    """The operation that makes weights float when the file is loaded."""
    rewrite = rewrites[0]
    packed = rewrite.between(place, form.type)
    tensor = rewrite.tensor(packed)
    tensor.buffer = buffer_of(rewrite.tensor(place), form)
    tensor.quantization = _channel_steps(form)
    unpacked = rewrite.between(place)
    for each in rewrites:
        inputs = np.array(each.operation.inputs, np.int32)
        each.operation.inputs = np.where(inputs == place, unpacked, inputs)
    # Version 5 reads scales of channels.
    return rewrite.step("DEQUANTIZE", [packed], unpacked, version=5)


def _lookup(rewrite, table, offsets):
    """Rows of a packed table, float and in the shape of the output."""
    ids, output = rewrite.inputs[1], rewrite.output
    steps, count = [], int(np.prod(rewrite.shape(ids)))
    if len(rewrite.shape(ids)) != 1:
        flat = rewrite.of_shape((count,), schema.TensorType.INT32)
        steps.append(rewrite.reshape(ids, flat))
        ids = flat
    is_plain = offsets is None and len(rewrite.shape(output)) == 2
    rows = rewrite.of_shape((count, rewrite.shape(table)[1]))
    if is_plain:
        rows = output
    # Version 4 reads 4 bits.
    steps.append(rewrite.step("EMBEDDING_LOOKUP", [ids, table], rows, version=4))
    if is_plain:
        return steps
    if offsets is None:
        return [*steps, rewrite.reshape(rows, output)]
    blocks = offsets.shape[1]
    split = rewrite.of_shape((count, blocks, rewrite.shape(table)[1] // blocks))
    moved = rewrite.between(split)
    added = rewrite.of_shape((count, blocks))
    column = rewrite.of_shape((count, blocks, 1))
    all_offsets = rewrite.constant(offsets, b"offsets")
    return [
        *steps,
        rewrite.reshape(rows, split),
        rewrite.step("EMBEDDING_LOOKUP", [ids, all_offsets], added),
        rewrite.reshape(added, column),
        rewrite.step("ADD", [split, column], moved, schema.AddOptionsT()),
        rewrite.reshape(moved, output),
    ]


def _product_with_offsets(rewrite, offsets):
    """A dense layer, and the products of offsets with the sums of blocks of inputs."""
    operation, (x, weight) = rewrite.operation, rewrite.inputs[:2]
    outputs, blocks = offsets.shape
    inputs = rewrite.shape(weight)[1]
    rows = int(np.prod(rewrite.shape(x))) // inputs
    split = rewrite.of_shape((rows, blocks, inputs // blocks))
    sums, added = (rewrite.of_shape((rows, n)) for n in (blocks, outputs))
    product, moved = rewrite.between(rewrite.output), rewrite.between(rewrite.output)
    axis = rewrite.constant(np.array([2], np.int32), b"axis")
    matrix = rewrite.constant(offsets, b"offsets")
    total = schema.AddOptionsT()
    total.fusedActivationFunction = operation.builtinOptions.fusedActivationFunction
    operation.builtinOptions.fusedActivationFunction = (
        schema.ActivationFunctionType.NONE
    )
    operation.outputs = np.array([product], np.int32)
    return [
        operation,
        rewrite.reshape(x, split),
        rewrite.step("SUM", [split, axis], sums, schema.ReducerOptionsT()),
        rewrite.step(
            "FULLY_CONNECTED",
            [sums, matrix, -1],
            added,
            schema.FullyConnectedOptionsT(),
        ),
        rewrite.reshape(added, moved),
        rewrite.step("ADD", [product, moved], rewrite.output, total),
    ]
