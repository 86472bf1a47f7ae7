"""Makes loops carry integers between rounds, and branches pass them on."""

import collections
import copy

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.tflite.edit import drop_tensors, opcode_index, set_constant
from tfcompress.tflite.observe import called
from tfcompress.tflite.operations import constant, operation_name

# Operations that only move the values of their first input.
_MOVES = """
    EXPAND_DIMS GATHER RESHAPE REVERSE_V2 SLICE SQUEEZE STRIDED_SLICE TRANSPOSE
""".split()


def carry_integers(file):
    """Turns values that loops carry and branches take and return into integers.

    The converter quantizes what a loop computes but lets it carry floats, which every round
    quantizes at its start, including the whole sequence that it reads, and dequantizes at
    its end. Scales do not change in between. The same holds for branches: one that only
    passes on its inputs should cost nothing.

    Args:
        file: the object form of a model, edited in place.
    """
    callers = collections.Counter(
        index
        for graph in file.subgraphs
        for operation in graph.operators
        for index in called(file, operation)
    )
    # Inner loops come later in a file, and outer ones depend on their inputs.
    for index in reversed(range(len(file.subgraphs))):
        for operation in list(file.subgraphs[index].operators):
            carry = _CARRY.get(operation_name(file, operation))
            if carry and all(callers[i] == 1 for i in called(file, operation)):
                carry(file, index, operation)
    for index in range(len(file.subgraphs)):
        _drop_unused(file, index)


def _carry_round(file, index, loop):
    outer = _Graph(file, index)
    condition, body = (_Graph(file, i) for i in called(file, loop))
    for k in range(len(loop.inputs)):
        given, result = int(body.graph.inputs[k]), int(body.graph.outputs[k])
        kind = body.quantized_as(given, result)
        is_compared = condition.readers(int(condition.graph.inputs[k]))
        # Then it is also the next value of another variable.
        is_passed_on = list(map(int, body.graph.outputs)).count(given) > (
            given == result
        )
        if kind is None or is_compared or is_passed_on:
            continue
        if result != given:
            body.graph.outputs[k] = body.quantized(result, kind)
        body.retype(given, kind)
        condition.retype(int(condition.graph.inputs[k]), kind)
        loop.inputs[k] = outer.quantized(int(loop.inputs[k]), kind, loop)
        loop.outputs[k] = outer.dequantize_after(int(loop.outputs[k]), kind, loop)


def _carry_branch(file, index, branch):
    outer = _Graph(file, index)
    insides = [_Graph(file, i) for i in called(file, branch)]
    for k, given in enumerate(map(int, branch.inputs[1:])):
        if kind := outer.made_of(given):
            for inside in insides:
                inside.take_integers(k, kind)
            branch.inputs[1 + k] = outer.quantized(given, kind, branch)
    for k, result in enumerate(map(int, branch.outputs)):
        if kind := outer.rounded_to(result):
            for inside in insides:
                made = int(inside.graph.outputs[k])
                inside.graph.outputs[k] = inside.quantized(made, kind)
            branch.outputs[k] = outer.dequantize_after(result, kind, branch)


_CARRY = {"WHILE": _carry_round, "IF": _carry_branch}


class _Graph:
    """One graph of a file, and edits of its tensors and operations."""

    def __init__(self, file, index):
        self.file = file
        self.graph = file.subgraphs[index]

    def readers(self, place):
        return [op for op in self.graph.operators if place in list(op.inputs)]

    def quantized_as(self, given, result):
        """A tensor in the integer form to which all readers convert a float input, or None.

        If nothing reads the input, the form from which the next round's value is made.
        """
        readers = self.readers(given)
        if any(operation_name(self.file, op) != "QUANTIZE" for op in readers):
            return None
        places = [int(reader.outputs[0]) for reader in readers] or self._source(result)
        kinds = [self.graph.tensors[place] for place in places]
        return kinds[0] if kinds and all(_same(kinds[0], k) for k in kinds) else None

    def _source(self, place):
        """The index of the integers from which a float tensor is made, in a list."""
        return [
            int(operation.inputs[0])
            for operation in self.graph.operators
            if operation_name(self.file, operation) == "DEQUANTIZE"
            and place in list(operation.outputs)
        ]

    def made_of(self, place):
        """The integer tensor from which a float tensor is made, or None."""
        return next((self.graph.tensors[i] for i in self._source(place)), None)

    def rounded_to(self, place):
        """A tensor in the integer form to which a float result is converted, or None.

        Any other reader must be a branch, which rounds it or passes it on.
        """
        readers = self.readers(place)
        names = [operation_name(self.file, reader) for reader in readers]
        if place in list(self.graph.outputs) or set(names) - {"QUANTIZE", "IF"}:
            return None
        kinds = [
            self.graph.tensors[int(reader.outputs[0])]
            for reader, name in zip(readers, names, strict=True)
            if name == "QUANTIZE"
        ]
        return kinds[0] if kinds and all(_same(kinds[0], k) for k in kinds) else None

    def take_integers(self, k, kind):
        """Makes an input integer; readers that need it get a conversion to float."""
        given = int(self.graph.inputs[k])
        self.graph.inputs[k] = made = self._add_like(given, kind)
        self._insert("DEQUANTIZE", made, given, 0)
        self._read_as_integers(given, made, kind)

    def retype(self, place, kind):
        """Turns a float tensor into an integer tensor."""
        self._read_as_integers(place, place, kind)
        tensor = self.graph.tensors[place]
        tensor.type, tensor.quantization = kind.type, copy.deepcopy(kind.quantization)

    def _read_as_integers(self, place, integers, kind):
        """Makes readers of a float tensor read the integers from which it is made."""
        for reader in self.readers(place):
            name = operation_name(self.file, reader)
            is_moved = name in _MOVES and list(reader.inputs).index(place) == 0
            if not is_moved and name != "QUANTIZE":
                continue
            result = int(reader.outputs[0])
            if is_moved:
                reader.inputs[0] = integers
                reader.outputs[0] = self.dequantize_after(result, kind, reader)
            elif _same(self.graph.tensors[result], kind):
                self.graph.operators.remove(reader)
                self._read_instead(result, integers)
            else:
                reader.inputs[0], reader.opcodeIndex = integers, self._code(name)

    def _read_instead(self, old, new):
        for holder in self.graph.operators:
            holder.inputs = np.where(
                np.asarray(holder.inputs) == old, new, holder.inputs
            )
        outputs = np.asarray(self.graph.outputs)
        self.graph.outputs = np.where(outputs == old, new, outputs).astype(np.int32)

    def quantized(self, place, kind, before=None):
        """The index of a float tensor's integer form, made before an operation or last."""
        (source,) = self._source(place) or [place]
        if _same(self.graph.tensors[source], kind):
            return source
        made = self._add_like(place, kind)
        values = constant(self.file, self.graph.tensors[place])
        if values is not None:
            set_constant(self.file, self.graph.tensors[made], _quantized(values, kind))
        else:
            self._insert("QUANTIZE", source, made, self._position(before))
        return made

    def dequantize_after(self, place, kind, after):
        """The index of the integers that an operation writes instead of a float tensor."""
        made = self._add_like(place, kind)
        self._insert("DEQUANTIZE", made, place, self._position(after) + 1)
        self._read_as_integers(place, made, kind)
        return made

    def _position(self, operation):
        operations = enumerate(self.graph.operators)
        last = len(self.graph.operators)
        return next((i for i, op in operations if op is operation), last)

    def _add_like(self, place, kind):
        tensor = copy.copy(self.graph.tensors[place])
        tensor.type, tensor.quantization = kind.type, copy.deepcopy(kind.quantization)
        tensor.name, tensor.buffer = tensor.name + b"/integers", 0
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _insert(self, name, source, result, position):
        operation = schema.OperatorT()
        operation.opcodeIndex = self._code(name)
        operation.inputs = np.array([source], np.int32)
        operation.outputs = np.array([result], np.int32)
        self.graph.operators.insert(position, operation)

    def _code(self, name):
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = code.builtinCode
        # Version 2 takes integers.
        code.version = 2
        return opcode_index(self.file, code)


def _same(first, second):
    """Whether two tensors hold integers of the same type and scale."""
    return first.type == second.type and _scale(first) == _scale(second)


def _scale(tensor):
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None:
        return None
    return [*quantization.scale, *quantization.zeroPoint]


def _quantized(values, kind):
    limits = np.iinfo(np.int8 if kind.type == schema.TensorType.INT8 else np.int16)
    scale, zero_point = _scale(kind)
    levels = np.rint(values / np.float64(scale)) + zero_point
    return np.clip(levels, limits.min, limits.max).astype(limits.dtype)


def _drop_unused(file, index):
    """Removes tensors that nothing reads any more, and the conversions that make them."""
    graph = file.subgraphs[index]
    read = {int(i) for op in graph.operators for i in op.inputs}
    read.update(map(int, graph.outputs))
    graph.operators = [
        operation
        for operation in graph.operators
        if operation_name(file, operation) not in ("QUANTIZE", "DEQUANTIZE")
        or int(operation.outputs[0]) in read
    ]
    used = {int(i) for op in graph.operators for i in [*op.inputs, *op.outputs]}
    used.update(map(int, [*graph.inputs, *graph.outputs]))
    drop_tensors(file, index, set(range(len(graph.tensors))) - used)
