"""The memory that activations of a file take while it runs."""

import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.coding.wire import DECODE
from tfcompress.tflite.operations import operation_name
from tfcompress.tflite.read import naming_contradictions, read
from tfcompress.tflite.stages import read_tensors

_KINDS = schema.TensorType
_ITEM_SIZES = {
    **dict.fromkeys((_KINDS.INT8, _KINDS.UINT8, _KINDS.BOOL, _KINDS.INT4), 1),
    **dict.fromkeys((_KINDS.FLOAT16, _KINDS.INT16), 2),
    **dict.fromkeys((_KINDS.INT64, _KINDS.FLOAT64), 8),
}
_USUAL_SIZE = 4


@naming_contradictions()
def activation_bytes(model):
    """The largest total size of activations that are needed at the same time.

        max_t Σ_a size(a) [made at or before t, read at or after t]

    over the operations `t` of the first graph: what a runtime needs if it plans memory
    without gaps. Scratch memory of kernels and weights, including those decoded when the
    file is loaded, are not counted.

    Args:
        model: the bytes of a `.tflite` file, or its object form.

    Returns:
        The number of bytes.
    """
    model = read(model)
    graph = model.subgraphs[0]
    last = len(graph.operators)
    begin = dict.fromkeys(map(int, graph.inputs), 0)
    end = dict.fromkeys(map(int, graph.outputs), last)
    for time, operation in enumerate(graph.operators):
        if operation_name(model, operation) == DECODE:
            continue
        for tensor in map(int, operation.outputs):
            begin.setdefault(tensor, time)
        for tensor in read_tensors(operation):
            if tensor in begin:
                end[tensor] = max(end.get(tensor, 0), time)
    change = np.zeros(last + 2, np.int64)
    for tensor, first in begin.items():
        size = tensor_bytes(graph.tensors[tensor])
        change[first] += size
        change[end.get(tensor, first) + 1] -= size
    return int(change.cumsum().max())


def tensor_bytes(tensor):
    """The bytes that a tensor takes while a file runs."""
    shape = [] if tensor.shape is None else tensor.shape
    return math.prod(map(int, shape)) * _ITEM_SIZES.get(tensor.type, _USUAL_SIZE)
