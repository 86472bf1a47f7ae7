"""Networks that spend only what a sample needs."""

from tfcompress.dynamic.skipping import BlockDrop, ChannelSkip, SkipNet

__all__ = ["BlockDrop", "ChannelSkip", "SkipNet"]
