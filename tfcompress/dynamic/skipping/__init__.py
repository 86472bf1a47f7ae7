"""Residual networks that choose what to run for each sample."""

from tfcompress.dynamic.skipping.block_drop import BlockDrop
from tfcompress.dynamic.skipping.channel_skip import ChannelSkip
from tfcompress.dynamic.skipping.skip_net import SkipNet

__all__ = ["BlockDrop", "ChannelSkip", "SkipNet"]
