"""A file with nothing but a dense layer, to be measured."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.tflite.edit import set_constant

_TYPES = {"float32": schema.TensorType.FLOAT32, "int8": schema.TensorType.INT8}
# The first versions of the operation that take these types.
_VERSIONS = {"float32": 1, "int8": 4}


def dense_layer(kernel, rows=1, scale=None):
    """The object form of a model with one dense layer, without a bias.

    Args:
        kernel: its weights in float32 or int8, `(outputs, inputs)`.
        rows: number of rows of inputs.
        scale: the scale of all integers; None for floats.
    """
    (outputs, inputs), kind = kernel.shape, kernel.dtype.name
    file, graph = schema.ModelT(), schema.SubGraphT()
    file.version, file.subgraphs = 3, [graph]
    file.buffers = [schema.BufferT(), schema.BufferT()]
    shapes = (rows, inputs), (outputs, inputs), (rows, outputs)
    graph.tensors = [_tensor(shape, _TYPES[kind], scale) for shape in shapes]
    graph.tensors[1].buffer = 1
    set_constant(file, graph.tensors[1], kernel)
    code, layer = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.deprecatedBuiltinCode = code.builtinCode
    code.version = _VERSIONS[kind]
    layer.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    layer.builtinOptions = schema.FullyConnectedOptionsT()
    layer.inputs, layer.outputs = np.array([0, 1, -1], np.int32), [2]
    file.operatorCodes, graph.operators = [code], [layer]
    graph.inputs, graph.outputs = [0], [2]
    return file


def _tensor(shape, kind, scale):
    tensor = schema.TensorT()
    tensor.shape, tensor.type = np.array(shape, np.int32), kind
    if scale is not None:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = np.array([scale], np.float32)
        tensor.quantization.zeroPoint = np.array([0], np.int64)
    return tensor
