"""Binary layers as custom operations."""

from tfcompress.export.binary.direct import with_direct_tensors
from tfcompress.export.binary.rewrite import (
    with_binary_operations,
    without_binary_operations,
)
from tfcompress.export.binary.summary import BinaryLayer, binary_lines

__all__ = [
    "BinaryLayer",
    "binary_lines",
    "with_binary_operations",
    "with_direct_tensors",
    "without_binary_operations",
]
