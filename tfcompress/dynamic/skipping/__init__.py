"""Residual networks that choose for each sample what to run."""

from tfcompress.dynamic.skipping.skip_net import SkipNet

__all__ = ["SkipNet"]
