"""What takes the place of an operation: new operations, tensors and constants."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.tflite.edit import opcode_index
from tfcompress.tflite.operations import constant

_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int32": schema.TensorType.INT32,
    "int8": schema.TensorType.INT8,
}


class Rewrite:
    """The tensors of an operation, and new ones next to them.

    Args:
        file: the object form of a model.
        graph: one of its graphs.
        operation: one of its operations.
        readers: `Counter` of the operations that read each tensor; None if not needed.
    """

    def __init__(self, file, graph, operation, readers=None):
        self.file = file
        self.graph = graph
        self.operation = operation
        self.readers = readers
        self.inputs = [int(i) for i in operation.inputs]
        self.output = int(operation.outputs[0])

    def tensor(self, place):
        """The tensor with an index."""
        return self.graph.tensors[place]

    def shape(self, place):
        """The sizes of the tensor with an index."""
        return tuple(int(size) for size in self.tensor(place).shape)

    def float_constant(self, place):
        """An index, and the values of the float constant there, else None."""
        tensor = self.tensor(place)
        values = constant(self.file, tensor)
        if values is None or tensor.type != schema.TensorType.FLOAT32:
            return place, None
        return place, values.reshape(tensor.shape)

    def constant(self, array, name=b"constant"):
        """The index of a new constant."""
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self.file.buffers.append(buffer)
        kind = _TYPES[array.dtype.name]
        return self._add(array.shape, kind, name, len(self.file.buffers) - 1)

    def between(self, like, kind=schema.TensorType.FLOAT32):
        """The index of a new tensor in the shape of another."""
        return self.of_shape(self.shape(like), kind)

    def of_shape(self, shape, kind=schema.TensorType.FLOAT32):
        """The index of a new tensor without data."""
        # It uses the first buffer, which is empty.
        return self._add(shape, kind, b"between", 0)

    def _add(self, shape, kind, name, buffer):
        tensor = schema.TensorT()
        tensor.shape = np.array(shape, np.int32)
        tensor.type, tensor.buffer = kind, buffer
        tensor.name = self.tensor(self.output).name + b"/%s_%d" % (
            name,
            len(self.graph.tensors),
        )
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def step(self, name, inputs, output, options=None, version=1):
        """A new operation."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = version
        made = schema.OperatorT()
        made.opcodeIndex = opcode_index(self.file, code)
        made.inputs = np.array(inputs, np.int32)
        made.outputs = np.array([output], np.int32)
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            made.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            made.builtinOptions = options
        return made

    def reshape(self, source, output):
        """A new operation that gives a tensor the shape of another one."""
        shape = self.constant(np.array(self.shape(output), np.int32), b"shape")
        return self.step("RESHAPE", [source, shape], output)
