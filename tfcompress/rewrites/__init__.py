"""Replacements of layers by others."""

from tfcompress.core.nouns import LayerRewrite
from tfcompress.core.plugin import Registry
from tfcompress.rewrites.affine import AffineAsConvolution
from tfcompress.rewrites.apply import apply
from tfcompress.rewrites.fold_batch_norm import FoldBatchNorm
from tfcompress.rewrites.quantize_activations import quantize_activations
from tfcompress.rewrites.split_separable import SplitSeparable

get = Registry(LayerRewrite, AffineAsConvolution, FoldBatchNorm, SplitSeparable)

__all__ = [
    "AffineAsConvolution",
    "FoldBatchNorm",
    "LayerRewrite",
    "SplitSeparable",
    "apply",
    "get",
    "quantize_activations",
]
