"""Binary layers as custom operations."""

from tfcompress.export.binary.direct import connect_directly
from tfcompress.export.binary.rewrite import (
    with_binary_operations,
    without_binary_operations,
)
from tfcompress.export.binary.signs import reads_signs
from tfcompress.export.binary.summary import BinaryLayer, binary_lines
from tfcompress.export.binary.weights import BinaryWeights, has_one_size

__all__ = [
    "BinaryLayer",
    "BinaryWeights",
    "binary_lines",
    "connect_directly",
    "has_one_size",
    "reads_signs",
    "with_binary_operations",
    "without_binary_operations",
]
