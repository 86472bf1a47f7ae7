"""Published pipelines as one call each."""

from tfcompress.recipes.deep_compression import DeepCompression, deep_compression
from tfcompress.recipes.storage import storage

__all__ = ["DeepCompression", "deep_compression", "storage"]
