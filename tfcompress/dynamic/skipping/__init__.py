"""Residual networks that choose for each sample what to run."""

from tfcompress.dynamic.skipping.block_drop import BlockDrop
from tfcompress.dynamic.skipping.skip_net import SkipNet

__all__ = ["BlockDrop", "SkipNet"]
