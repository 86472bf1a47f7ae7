"""What TFLite Micro needs to run a file."""

import dataclasses
import importlib.util
import pathlib
import re
import subprocess
import sys

from tfcompress.coding.wire import DECODE, Kind
from tfcompress.tflite.decode import encoding_kinds
from tfcompress.tflite.memory import activation_bytes
from tfcompress.tflite.operations import count_operations
from tfcompress.tflite.read import read

# Flash for the interpreter, the kernels of a dozen operations and what they need of the C
# library. The documentation of TFLite Micro says 16 KB for the core on a Cortex-M3 and
# 22 KB with the few kernels of a keyword detector; optimized kernels are larger.
RUNTIME_BYTES = 64 * 1024
# What an operation takes of the arena next to activations: 14 kB for 38 of a ResNet-20.
_OPERATION_BYTES = 400
_FIRST_OWN_KIND = Kind.SYMBOLS
_CHILD = pathlib.Path(__file__).with_name("micro_arena.py")
_TOTAL = re.compile(r"Arena allocation total (\d+) bytes")
# Those that `PythonOpsResolver` of tflite-micro 0.dev20261023 finds.
OPERATIONS = frozenset(
    """
    ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL
    BATCH_TO_SPACE_ND BROADCAST_ARGS BROADCAST_TO CALL_ONCE CAST CEIL CIRCULAR_BUFFER
    CONCATENATION CONV_2D COS CUMSUM DEPTH_TO_SPACE DEPTHWISE_CONV_2D DEQUANTIZE DIV
    DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV
    FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF
    L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL LOG LOG_SOFTMAX LOGICAL_AND
    LOGICAL_NOT LOGICAL_OR LOGISTIC MAX_POOL_2D MAXIMUM MEAN MINIMUM MIRROR_PAD MUL NEG
    NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE READ_VARIABLE REDUCE_ALL REDUCE_MAX
    REDUCE_MIN RELU RELU6 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2
    ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT
    SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM SVDF TANH
    TFLM_DECODE TFLite_Detection_PostProcess TRANSPOSE TRANSPOSE_CONV
    UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE ZEROS_LIKE
    """.split()
)


@dataclasses.dataclass(frozen=True)
class Arena:
    """The memory that a file needs while it runs.

    Attributes:
        size_bytes: of it.
        is_measured: whether TFLite Micro said so, on this host, whose pointers are twice
            as long as those of a microcontroller; else it is an estimate.
        note: why it is an estimate.
    """

    size_bytes: int
    is_measured: bool
    note: str = ""


def unsupported_operations(model):
    """`{name: count}` of the operations that TFLite Micro does not have.

    Encodings of our own are named by their kind.

    Args:
        model: the bytes of a `.tflite` file, or its object form.
    """
    file = read(model)
    counts = count_operations(file)
    missing = {name: count for name, count in counts.items() if name not in OPERATIONS}
    for kind, count in encoding_kinds(file).items():
        if kind >= _FIRST_OWN_KIND:
            missing[f"{DECODE} of kind {int(kind)}"] = count
    return missing


def arena(path):
    """The `Arena` of a `.tflite` file.

    Measured by the interpreter of the package `tflite-micro` where that is installed and
    loads the file, else estimated: what activations need without gaps between them, and
    400 bytes for each operation.
    """
    content = pathlib.Path(path).read_bytes()
    num_operations = sum(count_operations(content).values())
    estimate = activation_bytes(content) + _OPERATION_BYTES * num_operations
    if unsupported_operations(content):
        return Arena(estimate, False, "TFLite Micro does not load it")
    if importlib.util.find_spec("tflite_micro") is None:
        return Arena(estimate, False, "the package tflite-micro is not installed")
    # Room for the gaps that its plan leaves.
    return _measured(path, 4 * estimate + 2**20) or Arena(
        estimate, False, "TFLite Micro does not load it"
    )


def _measured(path, most):
    """The `Arena` that TFLite Micro takes; None if it does not load the file."""
    child = subprocess.run(
        [sys.executable, "-P", str(_CHILD), str(path), str(most)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = _TOTAL.search(child.stderr)
    return Arena(int(found[1]), True) if found else None
