"""Stores kernels whose codes fit in 4 bits with 4 bits, or with 8 for fast kernels."""

import collections
import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.core.nibbles import pack_nibbles, unpack_nibbles
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


def unpack_convolutions(file):
    """Stores the 4-bit kernels of convolutions as INT8, with the same codes.

    LiteRT unpacks INT4 kernels of convolutions on every call. Encoded, they take no more
    bytes in the file, and are unpacked once, when it is loaded.

    Args:
        file: the object form of a model, edited in place.

    Returns:
        The tensors of these kernels.
    """
    kernels = [
        graph.tensors[operation.inputs[WEIGHT_INPUT]]
        for graph in file.subgraphs
        for operation in graph.operators
        if operation_name(file, operation) == "CONV_2D"
    ]
    kernels = [k for k in kernels if k.type == schema.TensorType.INT4]
    places = {}
    for kernel in kernels:
        if kernel.type == schema.TensorType.INT8:
            continue
        if kernel.buffer not in places:
            places[kernel.buffer] = len(file.buffers)
            codes = unpack_nibbles(
                bytes(file.buffers[kernel.buffer].data), math.prod(kernel.shape)
            )
            file.buffers.append(schema.BufferT())
            file.buffers[-1].data = codes.view(np.uint8)
        kernel.buffer = places[kernel.buffer]
        kernel.type = schema.TensorType.INT8
    return kernels


def decoded_note(constants):
    """One line, in a tuple, on which runtimes read a file with encoded kernels.

    Args:
        constants: an `EncodedConstant` for each kernel of `unpack_convolutions`.
    """
    count = sum(constant.encoding != "" for constant in constants)
    if not count:
        return ()
    return (
        f"4-bit kernels of {count} convolutions become int8 when the file is loaded, by "
        "tfc.Interpreter, runtimes with our delegate and TFLite Micro. profile='builtin' "
        "writes int4 kernels, which any LiteRT reads, and runs slower",
    )


def _reason(name):
    if name in OUTPUTS_FIRST:
        return "they lie on a finer grid"
    return "only dense and ordinary convolution layers have 4-bit kernels"
