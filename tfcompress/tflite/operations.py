"""Counts what a `.tflite` file consists of.

A model is the bytes of a file, or their object form from `read`.
"""

import collections
import functools
import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from tfcompress.core.nibbles import unpack_nibbles
from tfcompress.tflite.read import naming_contradictions, read

# Operations whose kernels have the output channel as their first axis.
OUTPUTS_FIRST = ("FULLY_CONNECTED", "CONV_2D")
# Prefix of the names of our own operations.
_OWN = "tfc."
_BINARY = ("tfc.BConv2D", "tfc.BDense")
# TFLite 8-bit quantization specification, and later kernels of LiteRT.
_HAS_INT8_KERNEL = frozenset(
    """
    ADD AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_TO CONCATENATION
    CONV_2D DEPTH_TO_SPACE DEPTHWISE_CONV_2D ELU EXP FULLY_CONNECTED GATHER GATHER_ND
    GELU HARD_SWISH L2_NORMALIZATION LEAKY_RELU LOG_SOFTMAX LOGISTIC MAX_POOL_2D MAXIMUM
    MEAN MINIMUM MIRROR_PAD MUL PACK PAD PADV2 PRELU REDUCE_MAX REDUCE_MIN RELU RELU6
    RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SLICE SOFTMAX
    SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQUARED_DIFFERENCE SQUEEZE
    STRIDED_SLICE SUB SUM TANH TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM
    UNPACK tfc.BConv2D tfc.BDense
    """.split()
)


@functools.cache
def _builtin_names():
    codes = vars(schema.BuiltinOperator)
    return {code: name for name, code in codes.items() if isinstance(code, int)}


def operation_name(model, operation):
    """Name of an operation, such as `CONV_2D`; for a custom one, its own name."""
    code = model.operatorCodes[operation.opcodeIndex]
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
    if builtin == schema.BuiltinOperator.CUSTOM:
        return code.customCode.decode()
    return _builtin_names()[builtin]


def is_own(name):
    """Whether only our delegate runs an operation.

    >>> is_own("tfc.BConv2D"), is_own("CONV_2D")
    (True, False)
    """
    return name.startswith(_OWN)


@naming_contradictions()
def count_operations(model):
    """`{name: count}` of the operations in a `.tflite` model, most frequent first.

    Raises:
        ValueError: if the bytes are not a complete TFLite model.
    """
    model = read(model)
    counts = collections.Counter(
        operation_name(model, op) for graph in model.subgraphs for op in graph.operators
    )
    return dict(counts.most_common())


@naming_contradictions()
def float_operations(model):
    """Operations that compute in float, `{name: (count, reason)}`.

    Conversions between float and integer tensors are not counted.
    """
    model = read(model)
    counts = collections.Counter()
    for graph in model.subgraphs:
        for op in graph.operators:
            name = operation_name(model, op)
            types = {graph.tensors[i].type for i in op.outputs}
            if schema.TensorType.FLOAT32 in types and name != "DEQUANTIZE":
                counts[name] += 1
    return {name: (count, _reason(name)) for name, count in counts.items()}


def float_ends(model):
    """One line for each input and output of an integer file that stayed float."""
    model = read(model)
    tensors = model.subgraphs[0].tensors
    return [
        f"{side} {entry.name.decode()!r} stays float32: no integer kernel "
        f"{'reads' if side == 'input' else 'writes'} it, or no range follows it"
        for side in ("input", "output")
        for entry in getattr(model.signatureDefs[0], f"{side}s")
        if tensors[entry.tensorIndex].type == schema.TensorType.FLOAT32
    ]


def _reason(name):
    if name in _HAS_INT8_KERNEL:
        return "asked for, or no range follows its output"
    return "LiteRT has no int8 kernel for it"


@naming_contradictions()
def count_parameters(model):
    """`(all, non-zero)` weights stored in a `.tflite` model.

    Only constant float and quantized tensors, and packed bits, count as weights; constants
    such as shapes and axes do not. Zeros omitted by a sparse tensor count among all
    weights.
    """
    model = read(model)
    total = nonzero = 0
    for graph in model.subgraphs:
        for operation in graph.operators:
            if operation_name(model, operation) in _BINARY:
                weights = _binary_weights(graph, operation)
                total += weights
                nonzero += weights - _binary_zeros(model, graph, operation)
        for tensor in graph.tensors:
            values = constant(model, tensor)
            if values is not None:
                total += math.prod(tensor.shape) if tensor.sparsity else values.size
                nonzero += int(np.count_nonzero(values))
    return total, nonzero


def _binary_weights(graph, operation):
    """The number of weights in a filter `[planes, outputs, ..., words]` of bits."""
    shape = graph.tensors[operation.inputs[1]].shape
    return math.prod(map(int, shape[1:-1])) * _attribute(operation, "channels")


def _attribute(operation, name):
    return flexbuffers.GetRoot(bytes(operation.customOptions)).AsMap[name].AsInt


def _binary_zeros(model, graph, operation):
    """The number of zero weights: bits in which two planes differ."""
    tensor = graph.tensors[operation.inputs[1]]
    octets = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.uint8)
    planes = octets.reshape(tensor.shape[0], -1)
    return int(np.unpackbits(planes[0] ^ planes[-1]).sum())


_DTYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.INT16: np.int16,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
}


def constant(model, tensor):
    """The stored values of a weight tensor, flat; None if it is not a constant weight."""
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data):
        return None
    is_float = tensor.type in (schema.TensorType.FLOAT32, schema.TensorType.FLOAT16)
    if not is_float and not _has_steps(tensor.quantization):
        return None
    octets = np.asarray(data, np.uint8)
    if tensor.type == schema.TensorType.INT4:
        return unpack_nibbles(octets, math.prod(tensor.shape))
    return octets.view(_DTYPES[tensor.type]) if tensor.type in _DTYPES else None


def _has_steps(quantization):
    if quantization is None:
        return False
    has_scales = quantization.scale is not None and len(quantization.scale)
    return bool(has_scales or quantization.details)


@naming_contradictions()
def count_macs(model):
    """Multiply-accumulates of convolution and dense operations, for one batch.

    Operations on single bits are included.
    """
    model = read(model)
    return sum(
        _operation_macs(graph, op, operation_name(model, op))
        for graph in model.subgraphs
        for op in graph.operators
    )


@naming_contradictions()
def count_binary_macs(model):
    """The part of `count_macs` with signs as inputs and bits as weights."""
    model = read(model)
    return sum(
        _operation_macs(graph, op, operation_name(model, op))
        for graph in model.subgraphs
        for op in graph.operators
        if operation_name(model, op) in _BINARY and _attribute(op, "binarize")
    )


def _operation_macs(graph, operation, name):
    if name in _BINARY:
        positions = math.prod(map(int, graph.tensors[operation.outputs[0]].shape[:-1]))
        return positions * _binary_weights(graph, operation)
    if name not in (
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "TRANSPOSE_CONV",
    ):
        return 0
    weight = graph.tensors[operation.inputs[1]].shape
    if name == "TRANSPOSE_CONV":
        return math.prod(graph.tensors[operation.inputs[2]].shape[:3]) * math.prod(
            weight
        )
    outputs = math.prod(graph.tensors[operation.outputs[0]].shape)
    # A depthwise kernel is (1, height, width, channels), the others (outputs, ...).
    return int(
        outputs * math.prod(weight[1:-1] if name.startswith("DEPTH") else weight[1:])
    )
