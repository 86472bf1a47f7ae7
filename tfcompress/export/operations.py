"""What a `.tflite` file consists of."""

import collections
import functools

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

# TFLite 8-bit quantization specification, and later kernels of LiteRT.
_HAS_INT8_KERNEL = frozenset(
    """ADD AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_TO CONCATENATION CONV_2D
    DEPTH_TO_SPACE DEPTHWISE_CONV_2D ELU EXP FULLY_CONNECTED GATHER GATHER_ND GELU HARD_SWISH
    L2_NORMALIZATION LEAKY_RELU LOG_SOFTMAX LOGISTIC MAX_POOL_2D MAXIMUM MEAN MINIMUM
    MIRROR_PAD MUL PACK PAD PADV2 PRELU REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE
    RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SLICE SOFTMAX SPACE_TO_BATCH_ND
    SPACE_TO_DEPTH SPLIT SPLIT_V SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM TANH
    TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK""".split()
)


@functools.cache
def _builtin_names():
    codes = vars(schema.BuiltinOperator)
    return {code: name for name, code in codes.items() if isinstance(code, int)}


def operation_name(model, operation):
    """Name of an operation, `CONV_2D`; of a custom one its own name."""
    code = model.operatorCodes[operation.opcodeIndex]
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
    if builtin == schema.BuiltinOperator.CUSTOM:
        return code.customCode.decode()
    return _builtin_names()[builtin]


def count_operations(content):
    """`{name: count}` of the operations in a `.tflite` model, most frequent first.

    Raises:
        ValueError: if the bytes are not a complete TFLite model.
    """
    model = read(content)
    counts = collections.Counter(
        operation_name(model, op) for graph in model.subgraphs for op in graph.operators
    )
    return dict(counts.most_common())


def float_operations(content):
    """Operations that compute in float, `{name: (count, reason)}`.

    Conversions between float and integer tensors are not counted.
    """
    model = read(content)
    counts = collections.Counter()
    for graph in model.subgraphs:
        for op in graph.operators:
            name = operation_name(model, op)
            types = {graph.tensors[i].type for i in op.outputs}
            if schema.TensorType.FLOAT32 in types and name != "DEQUANTIZE":
                counts[name] += 1
    return {name: (count, _reason(name)) for name, count in counts.items()}


def _reason(name):
    if name in _HAS_INT8_KERNEL:
        return "no range stands behind its output"
    return "LiteRT has no int8 kernel for it"


def read(content):
    """The object form of a `.tflite` model.

    Raises:
        ValueError: if the bytes are not a complete TFLite model.
    """
    error = None
    if content[4:8] == b"TFL3":
        try:
            return flatbuffer_utils.read_model_from_bytearray(bytearray(content))
        except Exception as caught:  # noqa: BLE001  whatever a damaged table leads to
            error = caught
    raise ValueError(
        f"{len(content)} bytes are not a complete .tflite model. Copy or export the file "
        "again."
    ) from error
