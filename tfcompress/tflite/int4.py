"""Stores kernels whose codes fit in 4 bits with 4 bits."""

import collections

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.core.nibbles import pack_nibbles
from tfcompress.tflite.edit import WEIGHT_INPUT, int8_constant, set_constant
from tfcompress.tflite.operations import OUTPUTS_FIRST, operation_name

_WITH_KERNEL = (*OUTPUTS_FIRST, "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")


def pack_int4(file):
    """Stores convolution and dense kernels whose codes fit in 4 bits as INT4.

    Args:
        file: the object form of an int8 model, edited in place.

    Returns:
        One line per kind of operation that keeps 8-bit kernels.
    """
    kept = collections.Counter()
    for graph in file.subgraphs:
        for operation in graph.operators:
            name = operation_name(file, operation)
            if name not in _WITH_KERNEL:
                continue
            weight = graph.tensors[operation.inputs[WEIGHT_INPUT]]
            codes = int8_constant(file, weight)
            if codes is None:
                continue
            if name in OUTPUTS_FIRST and np.abs(codes.astype(int)).max() <= 7:
                set_constant(file, weight, pack_nibbles(codes))
                weight.type = schema.TensorType.INT4
            else:
                kept[name] += 1
    return tuple(
        f"stayed at 8 bits: kernels of {count} {name}: {_reason(name)}"
        for name, count in kept.items()
    )


def _reason(name):
    if name in OUTPUTS_FIRST:
        return "they lie on a finer grid"
    return "only dense and ordinary convolution layers have 4-bit kernels"
