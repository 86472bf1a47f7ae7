"""Binary layers as custom operations."""

from tfcompress.export.binary.rewrite import BinaryLayer, with_binary_operations

__all__ = ["BinaryLayer", "with_binary_operations"]
