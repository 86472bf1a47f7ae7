"""The operations of a `.tflite` model as fused by the runtime, each as its own model."""

import collections
import copy
import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.tflite.memory import tensor_bytes
from tfcompress.tflite.observe import called
from tfcompress.tflite.operations import operation_name
from tfcompress.tflite.read import write
from tfcompress.tflite.stages import (
    constants,
    moved,
    operations_of_constants,
    read_tensors,
    subgraph,
)

_KINDS = schema.TensorType
_TYPES = {code: name.lower() for name, code in vars(_KINDS).items() if name.isupper()}
_INTEGERS = {_KINDS.INT32: np.int32, _KINDS.INT64: np.int64}
# Integers without a scale are shapes, axes or paddings, which change the work to do; more
# of them than this are indices into a table, which do not.
_MOST_INTEGERS = 64


class FusedOperation:
    """Operations that the runtime runs as one.

    Attributes:
        key: what their time depends on, as text: types, options, shapes, dtypes, which
            tensors have the same scale, small integer constants; not values of weights.
        names: names of the operations.
        constant_bytes: size of the constants they read.
        output_bytes: size of their outputs.

    Args:
        file: the object form of a model.
        operations: operations of its first graph, in execution order.
        held: indices of the tensors that the file holds.
    """

    def __init__(self, file, operations, held):
        self._file, self._operations, self._held = file, operations, held
        graph = file.subgraphs[0]
        self.names = [operation_name(file, op) for op in operations]
        self.key = _key(file, graph, operations, held)
        read = {t for op in operations for t in read_tensors(op)}
        buffers = [graph.tensors[t].buffer for t in read & held]
        self.constant_bytes = sum(len(file.buffers[place].data) for place in buffers)
        self.output_bytes = sum(
            tensor_bytes(graph.tensors[t]) for t in operations[-1].outputs
        )

    def content(self, copies=1):
        """Bytes of a model with only these operations and random weights.

        Args:
            copies: how often it computes them, each time from the same inputs.
        """
        graph, operations = self._file.subgraphs[0], self._operations
        made = {int(t) for op in operations for t in op.outputs}
        given = made | self._held
        read = dict.fromkeys(t for op in operations for t in read_tensors(op))
        inputs = [t for t in read if t not in given and not graph.tensors[t].isVariable]
        outputs = [*map(int, operations[-1].outputs)]
        alone, places = subgraph(graph, operations, inputs, outputs)
        _repeat(alone, [places[t] for t in made], copies)
        file = copy.copy(self._file)
        runs_others = any(called(file, op) for op in operations)
        file.subgraphs = [alone, *(file.subgraphs[1:] if runs_others else ())]
        file.signatureDefs, file.metadata, file.metadataBuffer = [], [], None
        tensors = {t.buffer: t for graph in file.subgraphs for t in graph.tensors}
        generator = np.random.default_rng(0)
        file.buffers = [
            _drawn(tensors[i], buffer, generator) if i in tensors else schema.BufferT()
            for i, buffer in enumerate(file.buffers)
        ]
        return write(file)


def fused_operations(file):
    """The operations of the first graph of a model, as the runtime fuses them.

    Operations that only read constants belong to each operation that reads their
    outputs.

    Args:
        file: the object form of a model.

    Returns:
        A list of `FusedOperation`, in execution order.
    """
    graph = file.subgraphs[0]
    held, operations = constants(file, graph), graph.operators
    return [
        FusedOperation(file, [operations[i] for i in group], held)
        for group in _Groups(file, held).groups
    ]


class _Groups:
    """Which operations of a graph run as one.

    XNNPACK is taken to fuse what reduced the time of a pair in LiteRT 2.3, with its default
    delegate: zero padding with the convolution that follows; in float32, clipping with the
    operation that sums or pools; in 8 bits, elementwise functions, which become one table.

    Attributes:
        groups: lists of the operations' indices.
    """

    _PADDED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})
    _LIMITS = frozenset({"RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1"})
    _LIMITED = frozenset(
        """
        AVERAGE_POOL_2D CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED MAX_POOL_2D
        TRANSPOSE_CONV
        """.split()
    )
    _OF_EACH_VALUE = frozenset(
        """
        ABS ADD DIV ELU EXP GELU HARD_SWISH LEAKY_RELU LOGISTIC MAXIMUM MINIMUM MUL NEG
        QUANTIZE RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 RSQRT SQRT SQUARE SUB TANH
        """.split()
    )

    def __init__(self, file, held):
        self._file, self._graph, self._held = file, file.subgraphs[0], held
        operations = self._graph.operators
        self._of_constants = operations_of_constants(file, self._graph)
        self._makers = {
            int(t): i for i, op in enumerate(operations) for t in op.outputs
        }
        self._readers = collections.Counter(map(int, self._graph.outputs))
        self._readers.update(t for op in operations for t in read_tensors(op))
        # `{index of the last operation: indices}`, and the input of each table.
        self._found, self._sources = {}, {}
        for i, operation in enumerate(operations):
            if i not in self._of_constants:
                before = self._fused_with(i, operation)
                earlier = [j for last in before for j in self._found.pop(last)]
                self._found[i] = [*earlier, i]
        self.groups = [self._whole(group) for group in self._found.values()]

    def _fused_with(self, i, operation):
        """The last operations of the groups that an operation joins."""
        if self._is_table(operation):
            return self._tables_before(i, operation)
        read = read_tensors(operation)
        if not read or not self._is_made_for(operation, read[0]):
            return []
        maker, name = self._makers[read[0]], operation_name(self._file, operation)
        made_by = operation_name(self._file, self._graph.operators[maker])
        is_float = self._kind(read[0]) == _KINDS.FLOAT32
        pads = made_by == "PAD" and name in self._PADDED
        limits = is_float and name in self._LIMITS and made_by in self._LIMITED
        return [maker] if pads or limits else []

    def _is_made_for(self, operation, tensor):
        """Whether a group computes a tensor that only this operation reads."""
        times_read = read_tensors(operation).count(tensor)
        is_made = self._makers.get(tensor) in self._found
        return is_made and self._readers[tensor] == times_read

    def _is_table(self, operation):
        if operation_name(self._file, operation) not in self._OF_EACH_VALUE:
            return False
        varying = [t for t in read_tensors(operation) if not self._is_number(t)]
        kinds = {self._kind(t) for t in (*varying, *operation.outputs)}
        return kinds <= {_KINDS.INT8, _KINDS.UINT8}

    def _tables_before(self, i, operation):
        joined, sources = set(), set()
        for tensor in read_tensors(operation):
            maker = self._makers.get(tensor)
            if self._is_number(tensor):
                continue
            if maker in self._sources and self._is_made_for(operation, tensor):
                joined.add(maker)
                sources.add(self._sources[maker])
            else:
                sources.add(tensor)
        if len(sources) != 1:
            return []
        self._sources[i] = sources.pop()
        return sorted(joined)

    def _is_number(self, tensor):
        return tensor in self._held and _count(self._graph.tensors[tensor]) == 1

    def _kind(self, tensor):
        return self._graph.tensors[tensor].type

    def _whole(self, group):
        """A group with the operations on constants that it needs, in order."""
        found, waiting = set(), list(group)
        while waiting:
            i = waiting.pop()
            found.add(i)
            read = read_tensors(self._graph.operators[i])
            makers = {self._makers.get(t) for t in read}
            waiting += makers & self._of_constants
        return sorted(found)


def _repeat(graph, own, copies):
    """Makes a graph compute its own tensors several times."""
    operations, outputs = list(graph.operators), list(graph.outputs)
    same = {t: t for t in range(-1, len(graph.tensors))}
    ends = list(outputs)
    for _ in range(copies - 1):
        first = len(graph.tensors)
        places = {**same, **{t: first + i for i, t in enumerate(own)}}
        graph.tensors += [graph.tensors[t] for t in own]
        graph.operators += [moved(operation, places) for operation in operations]
        ends += [places[t] for t in outputs]
    graph.outputs = np.array(ends, np.int32)


def _drawn(tensor, buffer, generator):
    """A buffer with random weights, since denormal ones in the file would be slow."""
    if buffer.data is None or not len(buffer.data) or tensor.sparsity:
        return buffer
    drawn = generator.standard_normal(1 << 12, np.float32)
    if tensor.type == _KINDS.FLOAT16:
        drawn = drawn.astype(np.float16)
    elif tensor.type == _KINDS.INT8 and _scales(tensor):
        drawn = generator.integers(-127, 127, 1 << 12, np.int8, endpoint=True)
    elif tensor.type != _KINDS.FLOAT32:
        return buffer
    made = schema.BufferT()
    made.data = np.resize(drawn.view(np.uint8), len(buffer.data))
    return made


def _key(file, graph, operations, held):
    """The `key` of a `FusedOperation`."""
    describe = _Description(file, graph, held)
    return "; ".join(map(describe.operation, operations))


class _Description:
    """Describes operations of a graph as text."""

    def __init__(self, file, graph, held):
        self._file, self._graph, self._held = file, graph, held
        # `{scales and zero points: number}`.
        self._scales = {}

    def operation(self, operation):
        name, options = operation_name(self._file, operation), self._options(operation)
        sides = (operation.inputs, operation.outputs)
        read, made = (", ".join(self._tensor(int(t)) for t in side) for side in sides)
        return f"{name}{options} ({read}) -> ({made})"

    def _options(self, operation):
        file = self._file
        graphs = [file.subgraphs[index] for index in called(file, operation)]
        if graphs:
            return [
                _key(file, graph, graph.operators, constants(file, graph))
                for graph in graphs
            ]
        sources = ("builtinOptions", "builtinOptions2", "customOptions")
        given = (_plain(getattr(operation, source, None)) for source in sources)
        return [each for each in given if each is not None]

    def _tensor(self, place):
        if place < 0:
            return "none"
        tensor, scales = self._graph.tensors[place], ""
        if own := _scales(tensor):
            scales = f"*{len(own[0])}#{self._scales.setdefault(own, len(self._scales))}"
        text = f"{_TYPES[tensor.type]}{_shape(tensor)}{scales}"
        if place not in self._held:
            return text
        data = np.asarray(self._file.buffers[tensor.buffer].data, np.uint8)
        if tensor.sparsity:
            return f"sparse {text} of {len(data)} bytes"
        values = data.view(_INTEGERS.get(tensor.type, np.uint8))
        if tensor.type in _INTEGERS and not own and values.size <= _MOST_INTEGERS:
            return str(values.tolist())
        return f"constant {text}"


def _shape(tensor):
    return [] if tensor.shape is None else [*map(int, tensor.shape)]


def _count(tensor):
    return math.prod(_shape(tensor))


def _scales(tensor):
    """Scales and zero points of a tensor, if it has them."""
    found = tensor.quantization
    if found is None or found.scale is None or not len(found.scale):
        return None
    points = () if found.zeroPoint is None else found.zeroPoint
    return tuple(map(float, found.scale)), tuple(map(int, points))


def _plain(options):
    """Options in a form whose text is always the same."""
    if hasattr(options, "tolist"):
        return options.tolist()
    if hasattr(options, "__dict__"):
        return {name: _plain(value) for name, value in sorted(vars(options).items())}
    return options
