"""`.tflite` files with one custom operation, valid or not."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from flatbuffers import flexbuffers

FLOAT32, INT8, INT32 = (
    schema.TensorType.FLOAT32,
    schema.TensorType.INT8,
    schema.TensorType.INT32,
)
CONV = {
    "channels": 40,
    "stride_height": 1,
    "stride_width": 1,
    "dilation_height": 1,
    "dilation_width": 1,
    "same_padding": 1,
    "binarize": 1,
    "relu": 0,
}
POOL = {
    "pool_height": 2,
    "pool_width": 2,
    "stride_height": 2,
    "stride_width": 2,
    "same_padding": 0,
}


def file_of(name, attributes, x, constants, y):
    """A model with one operation.

    Args:
        name: name of the custom operation.
        attributes: `{name: integer}`, or the bytes themselves.
        x: `(shape, type)` of the input; `(shape, type, scale, zero point)` for int8.
        constants: arrays, the other inputs.
        y: like `x`, of the output.

    Returns:
        Bytes of a `.tflite` model.
    """
    model = schema.ModelT()
    model.version = 3
    model.description = "test"
    model.buffers = [schema.BufferT()]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = name
    model.operatorCodes = [code]
    graph = schema.SubGraphT()
    graph.tensors = [_tensor("x", 0, *x)]
    for i, array in enumerate(constants):
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        model.buffers.append(buffer)
        kind = FLOAT32 if array.dtype.kind == "f" else INT32
        graph.tensors.append(_tensor(f"constant_{i}", i + 1, array.shape, kind))
    graph.tensors.append(_tensor("y", 0, *y))
    operator = schema.OperatorT()
    operator.opcodeIndex = 0
    operator.inputs = np.arange(1 + len(constants), dtype=np.int32)
    operator.outputs = [len(graph.tensors) - 1]
    operator.customOptions = (
        attributes
        if isinstance(attributes, bytes)
        else bytes(flexbuffers.Dumps(attributes))
    )
    graph.operators = [operator]
    graph.inputs, graph.outputs = [0], [len(graph.tensors) - 1]
    model.subgraphs = [graph]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _tensor(name, buffer, shape, kind, scale=None, zero_point=0):
    tensor = schema.TensorT()
    tensor.name, tensor.buffer, tensor.shape, tensor.type = name, buffer, shape, kind
    tensor.hasRank = True
    if scale is not None:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = [scale]
        tensor.quantization.zeroPoint = [zero_point]
    return tensor
