"""Binary operations read and write integers where conversions stand beside them."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from tfcompress.export.edit import drop_buffers, drop_tensors, set_constant
from tfcompress.export.operations import operation_name, read

_WITH_VALUES = ("tfc.BConv2D", "tfc.BDense")


def with_direct_tensors(content):
    """Removes conversions beside binary operations, which convert by themselves.

    The converter leaves all custom operations float: a DEQUANTIZE stands before them and
    a QUANTIZE behind them in int8 files, and a DEQUANTIZE behind each float16 constant.

    Args:
        content: bytes of a `.tflite` model.

    Returns:
        The edited bytes, or the same bytes if there is nothing to do.
    """
    file = read(content)
    changed = [_edit(file, index) for index in range(len(file.subgraphs))]
    if not any(changed):
        return content
    shown = {t.buffer for graph in file.subgraphs for t in graph.tensors}
    shown |= {note.buffer for note in file.metadata or ()}
    # The first buffer stands for none.
    drop_buffers(file, set(range(1, len(file.buffers))) - shown)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(file))


def _edit(file, index):
    graph = file.subgraphs[index]
    before = len(graph.operators)
    writers = {t: op for op in graph.operators for t in op.outputs}
    for operation in list(graph.operators):
        if operation_name(file, operation) not in _WITH_VALUES:
            continue
        for place, tensor in enumerate(operation.inputs):
            writer = writers.get(tensor)
            if writer and operation_name(file, writer) == "DEQUANTIZE":
                _read_directly(file, graph, operation, place, writer)
        _write_directly(file, graph, operation)
    _drop_unread(file, graph)
    if len(graph.operators) == before:
        return False
    used = {t for op in graph.operators for t in (*op.inputs, *op.outputs)}
    used |= {*graph.inputs, *graph.outputs}
    drop_tensors(file, index, set(range(len(graph.tensors))) - used)
    return True


def _read_directly(file, graph, operation, place, dequantize):
    source = graph.tensors[dequantize.inputs[0]]
    if source.type == schema.TensorType.INT8 and place == 0:
        operation.inputs[place] = dequantize.inputs[0]
    data = file.buffers[source.buffer].data
    if source.type == schema.TensorType.FLOAT16 and data is not None:
        values = np.frombuffer(bytes(data), np.float16).astype(np.float32)
        set_constant(file, graph.tensors[operation.inputs[place]], values)
        dequantize.outputs = dequantize.outputs[:0]


def _write_directly(file, graph, operation):
    """Lets an operation write what the one QUANTIZE behind it makes of its output."""
    (output,) = operation.outputs
    readers = [op for op in graph.operators if output in op.inputs]
    if len(readers) != 1 or output in graph.outputs:
        return
    (reader,) = readers
    result = graph.tensors[reader.outputs[0]]
    is_quantize = operation_name(file, reader) == "QUANTIZE"
    if is_quantize and result.type == schema.TensorType.INT8:
        operation.outputs = reader.outputs
        graph.operators.remove(reader)


def _drop_unread(file, graph):
    read_tensors = {t for op in graph.operators for t in op.inputs} | {*graph.outputs}
    graph.operators = [
        op
        for op in graph.operators
        if operation_name(file, op) != "DEQUANTIZE"
        or read_tensors.intersection(op.outputs)
    ]
