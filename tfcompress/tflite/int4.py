"""Kernels whose codes fit in 4 bits take 4 bits."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.core.nibbles import pack_nibbles
from tfcompress.tflite.edit import WEIGHT_INPUT, int8_constant, set_constant
from tfcompress.tflite.operations import OUTPUTS_FIRST, operation_name


def pack_int4(file):
    """Stores convolution and dense kernels whose codes fit in 4 bits as INT4.

    Args:
        file: the object form of an int8 model, edited in place.
    """
    for graph in file.subgraphs:
        for operation in graph.operators:
            if operation_name(file, operation) not in OUTPUTS_FIRST:
                continue
            weight = graph.tensors[operation.inputs[WEIGHT_INPUT]]
            codes = int8_constant(file, weight)
            if codes is not None and np.abs(codes.astype(int)).max() <= 7:
                set_constant(file, weight, pack_nibbles(codes))
                weight.type = schema.TensorType.INT4
