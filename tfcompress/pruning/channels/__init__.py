"""Channels: which are coupled, which can be removed, and models without them."""

from tfcompress.core.nouns import LayerRewrite
from tfcompress.core.plugin import register
from tfcompress.pruning.channels.compact_kernel import CompactKernel

register(LayerRewrite, CompactKernel)
