"""Replaces layers by others that compute the same."""

from tfcompress.core.nouns import LayerRewrite
from tfcompress.core.plugin import register
from tfcompress.rewrites.affine import AffineAsConvolution
from tfcompress.rewrites.apply import apply
from tfcompress.rewrites.batch_norm import recalibrate_batch_norm
from tfcompress.rewrites.fold_batch_norm import FoldBatchNorm
from tfcompress.rewrites.fold_channel_scale import FoldChannelScale
from tfcompress.rewrites.pointwise_as_dense import PointwiseAsDense
from tfcompress.rewrites.split_separable import SplitSeparable
from tfcompress.rewrites.split_shift import SplitShift

get = LayerRewrite.get
register(
    LayerRewrite,
    AffineAsConvolution,
    FoldBatchNorm,
    FoldChannelScale,
    PointwiseAsDense,
    SplitSeparable,
    SplitShift,
)

__all__ = [
    "AffineAsConvolution",
    "FoldBatchNorm",
    "FoldChannelScale",
    "LayerRewrite",
    "PointwiseAsDense",
    "SplitSeparable",
    "SplitShift",
    "apply",
    "get",
    "recalibrate_batch_norm",
]
