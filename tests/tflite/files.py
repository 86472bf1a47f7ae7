"""Small `.tflite` models in object form, built by hand."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

INT8, INT32 = schema.TensorType.INT8, schema.TensorType.INT32


def tensor(name, kind, shape, buffer=0, scale=(1.0,)):
    made = schema.TensorT()
    made.name, made.type, made.buffer = name, kind, buffer
    made.shape = np.array(shape, np.int32)
    made.quantization = schema.QuantizationParametersT()
    made.quantization.scale = np.array(scale, np.float32)
    made.quantization.zeroPoint = np.zeros(len(scale), np.int64)
    return made


def operation(name, inputs, outputs):
    """`(operation, code)` of a builtin operation."""
    code, made = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = code.builtinCode
    made.inputs, made.outputs = list(inputs), list(outputs)
    return made, code


def model(tensors, operation_and_code, constants=()):
    """One operation from the first tensor to the last; buffer 0 is empty."""
    file, graph = schema.ModelT(), schema.SubGraphT()
    made, code = operation_and_code
    graph.tensors, graph.operators = tensors, [made]
    graph.inputs, graph.outputs = [0], [len(tensors) - 1]
    file.version, file.subgraphs, file.operatorCodes = 3, [graph], [code]
    file.buffers = [schema.BufferT() for _ in range(1 + len(constants))]
    for buffer, array in zip(file.buffers[1:], constants, strict=True):
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
    return file


def dense(codes, scales, bias):
    """A dense int8 layer with codes `(outputs, inputs)`."""
    outputs, inputs = codes.shape
    tensors = [
        tensor(b"x", INT8, (1, inputs)),
        tensor(b"w", INT8, codes.shape, 1, scales),
        tensor(b"b", INT32, (outputs,), 2, scales),
        tensor(b"y", INT8, (1, outputs)),
    ]
    constants = codes.astype(np.int8), bias.astype(np.int32)
    return model(tensors, operation("FULLY_CONNECTED", (0, 1, 2), (3,)), constants)


def signed(file):
    """The file with a signature for its only graph."""
    signature, graph = schema.SignatureDefT(), file.subgraphs[0]
    signature.signatureKey = b"serving_default"
    for side in ("inputs", "outputs"):
        entry = schema.TensorMapT()
        entry.tensorIndex = getattr(graph, side)[0]
        entry.name = graph.tensors[entry.tensorIndex].name
        setattr(signature, side, [entry])
    file.signatureDefs = [signature]
    return file


def values(file, index, dtype):
    """The constant of a tensor of the only graph, flat."""
    place = file.subgraphs[0].tensors[index].buffer
    return np.frombuffer(bytes(file.buffers[place].data), dtype).tolist()
