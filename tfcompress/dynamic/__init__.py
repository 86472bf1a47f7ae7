"""Networks that spend only what a sample needs."""

from tfcompress.dynamic.skipping import SkipNet

__all__ = ["SkipNet"]
