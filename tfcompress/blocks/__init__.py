"""Lean blocks, from which to build networks or with which to replace convolutions."""

from tfcompress.blocks.binary_residual import binary_residual
from tfcompress.blocks.depthwise_separable import depthwise_separable
from tfcompress.blocks.fire import fire
from tfcompress.blocks.ghost import ghost, ghost_bottleneck
from tfcompress.blocks.inverted_residual import inverted_residual
from tfcompress.blocks.multi_scale_dense import multi_scale_dense, multi_scale_first
from tfcompress.blocks.quicknet import quicknet
from tfcompress.blocks.shuffle_unit import channel_shuffle, shuffle_unit
from tfcompress.blocks.squeeze_excite import squeeze_excite
from tfcompress.blocks.substitute import substitute
from tfcompress.blocks.xception_entry import xception_entry

__all__ = [
    "binary_residual",
    "channel_shuffle",
    "depthwise_separable",
    "fire",
    "ghost",
    "ghost_bottleneck",
    "inverted_residual",
    "multi_scale_dense",
    "multi_scale_first",
    "quicknet",
    "shuffle_unit",
    "squeeze_excite",
    "substitute",
    "xception_entry",
]
