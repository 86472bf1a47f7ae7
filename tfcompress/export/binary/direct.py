"""Binary operations read and write integers where conversions are next to them."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.export.binary.layers import BConv2D, BDense
from tfcompress.tflite.edit import drop_buffers, drop_tensors, set_constant
from tfcompress.tflite.operations import operation_name

_CLIPS = {"RELU": (0.0, np.inf), "RELU6": (0.0, 6.0)}
_WITH_VALUES = ("tfc.BConv2D", "tfc.BDense")


def connect_directly(file, model):
    """Removes conversions next to binary operations, which convert by themselves.

    The converter keeps all custom operations float: in int8 files there is a DEQUANTIZE
    before and a QUANTIZE after them, and a DEQUANTIZE after each float16 constant. A ReLU
    before that QUANTIZE is removed too if the range clips in the same way. The float16
    constants are restored to their unrounded values, since rounding could change signs.

    Args:
        file: the object form of a `.tflite` model, edited in place.
        model: the Keras model that it was converted from.
    """
    exact = {
        v.numpy().astype(np.float16).tobytes(): v.numpy()
        for layer in model.layers
        if isinstance(layer, (BConv2D, BDense))
        for v in layer.variables
        if v.dtype == "float32"
    }
    changed = [_edit(file, index, exact) for index in range(len(file.subgraphs))]
    if not any(changed):
        return
    shown = {t.buffer for graph in file.subgraphs for t in graph.tensors}
    shown |= {note.buffer for note in file.metadata or ()}
    # The first buffer means "no buffer".
    drop_buffers(file, set(range(1, len(file.buffers))) - shown)


def _edit(file, index, exact):
    graph = file.subgraphs[index]
    before = len(graph.operators)
    writers = {t: op for op in graph.operators for t in op.outputs}
    for operation in list(graph.operators):
        if operation_name(file, operation) not in _WITH_VALUES:
            continue
        for place, tensor in enumerate(operation.inputs):
            writer = writers.get(tensor)
            if writer and operation_name(file, writer) == "DEQUANTIZE":
                _read_directly(file, graph, operation, place, writer, exact)
        _write_directly(file, graph, operation)
    _drop_unread(file, graph)
    if len(graph.operators) == before:
        return False
    used = {t for op in graph.operators for t in (*op.inputs, *op.outputs)}
    used |= {*graph.inputs, *graph.outputs}
    drop_tensors(file, index, set(range(len(graph.tensors))) - used)
    return True


def _read_directly(file, graph, operation, place, dequantize, exact):
    source = graph.tensors[dequantize.inputs[0]]
    if source.type == schema.TensorType.INT8 and place == 0:
        operation.inputs[place] = dequantize.inputs[0]
    data = file.buffers[source.buffer].data
    if source.type == schema.TensorType.FLOAT16 and data is not None:
        rounded = np.frombuffer(bytes(data), np.float16).astype(np.float32)
        constant = graph.tensors[operation.inputs[place]]
        set_constant(file, constant, exact.get(bytes(data), rounded))
        dequantize.outputs = dequantize.outputs[:0]


def _write_directly(file, graph, operation):
    """Lets an operation write the integers that the single QUANTIZE after it makes."""
    passed, reader = [], _only_reader(graph, operation)
    if reader and operation_name(file, reader) in _CLIPS:
        passed, reader = [reader], _only_reader(graph, reader)
    if reader is None or operation_name(file, reader) != "QUANTIZE":
        return
    result = graph.tensors[reader.outputs[0]]
    if result.type != schema.TensorType.INT8:
        return
    for clipping in passed:
        low, high = _CLIPS[operation_name(file, clipping)]
        if not _lies_within(result.quantization, low, high):
            return
    operation.outputs = reader.outputs
    for other in (*passed, reader):
        graph.operators.remove(other)


def _only_reader(graph, operation):
    (output,) = operation.outputs
    readers = [op for op in graph.operators if output in op.inputs]
    return readers[0] if len(readers) == 1 and output not in graph.outputs else None


def _lies_within(quantization, low, high):
    """Whether int8 values cannot exceed these limits anyway."""
    step, zero_point = quantization.scale[0], quantization.zeroPoint[0]
    tolerance = step / 256
    reaches = [(level - zero_point) * step for level in (-128, 127)]
    return reaches[0] >= low - tolerance and reaches[1] <= high + tolerance


def _drop_unread(file, graph):
    read_tensors = {t for op in graph.operators for t in op.inputs} | {*graph.outputs}
    graph.operators = [
        op
        for op in graph.operators
        if operation_name(file, op) != "DEQUANTIZE"
        or read_tensors.intersection(op.outputs)
    ]
