"""Rescales integers before they are reversed."""

import copy

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.tflite.edit import opcode_index
from tfcompress.tflite.operations import operation_name


def rescale_reversals(file):
    """Rescales integers before they are reversed, for instance after backward LSTMs.

    REVERSE_V2 moves integers without rescaling, but the converter may give its output a
    different scale from its input.

    Args:
        file: the object form of a quantized model, edited in place.
    """
    found = [
        (graph, operation)
        for graph in file.subgraphs
        for operation in graph.operators
        if operation_name(file, operation) == "REVERSE_V2"
        and _scale(graph, operation.inputs) != _scale(graph, operation.outputs)
    ]
    for graph, operation in found:
        _rescale_first(file, graph, operation)


def _scale(graph, tensors):
    quantization = graph.tensors[tensors[0]].quantization
    if quantization is None or quantization.scale is None:
        return None
    return *quantization.scale, *quantization.zeroPoint


def _rescale_first(file, graph, operation):
    """Inserts a QUANTIZE to the scale of its output before an operation."""
    rescaled = copy.copy(graph.tensors[operation.inputs[0]])
    rescaled.name += b"/rescaled"
    rescaled.quantization = graph.tensors[operation.outputs[0]].quantization
    graph.tensors.append(rescaled)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.QUANTIZE
    # Version 2 takes integers.
    code.version = 2
    quantize = schema.OperatorT()
    quantize.opcodeIndex = opcode_index(file, code)
    quantize.inputs = np.array(operation.inputs[:1], np.int32)
    quantize.outputs = np.array([len(graph.tensors) - 1], np.int32)
    quantize.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
    quantize.builtinOptions = schema.QuantizeOptionsT()
    operation.inputs = np.array([quantize.outputs[0], *operation.inputs[1:]], np.int32)
    graph.operators.insert(graph.operators.index(operation), quantize)
