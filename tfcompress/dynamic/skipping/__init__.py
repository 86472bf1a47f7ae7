"""Residual networks that choose for each sample what to run."""

from tfcompress.dynamic.skipping.block_drop import BlockDrop
from tfcompress.dynamic.skipping.channel_skip import ChannelSkip
from tfcompress.dynamic.skipping.skip_net import SkipNet

__all__ = ["BlockDrop", "ChannelSkip", "SkipNet"]
