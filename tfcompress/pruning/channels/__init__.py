"""Channels: which belong together, which can go, and models without them."""

from tfcompress.core.nouns import LayerRewrite
from tfcompress.core.plugin import register
from tfcompress.pruning.channels.compact_kernel import CompactKernel

register(LayerRewrite, CompactKernel)
