"""Networks that spend only what a sample needs."""

from tfcompress.dynamic.skipping import BlockDrop, SkipNet

__all__ = ["BlockDrop", "SkipNet"]
