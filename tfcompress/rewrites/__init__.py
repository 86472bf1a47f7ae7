"""Replacements of layers by others."""

from tfcompress.core.nouns import LayerRewrite
from tfcompress.core.plugin import Registry
from tfcompress.rewrites import ranks
from tfcompress.rewrites.affine import AffineAsConvolution
from tfcompress.rewrites.apply import apply
from tfcompress.rewrites.batch_norm import recalibrate_batch_norm
from tfcompress.rewrites.compact_kernel import CompactKernel
from tfcompress.rewrites.cp import CP
from tfcompress.rewrites.depthwise_separable import DepthwiseSeparable
from tfcompress.rewrites.factorize import (
    FactorizationPlan,
    factorize,
    plan_factorization,
)
from tfcompress.rewrites.factorizer import Factorizer
from tfcompress.rewrites.fold_batch_norm import FoldBatchNorm
from tfcompress.rewrites.global_average_head import GlobalAverageHead
from tfcompress.rewrites.pointwise_as_dense import PointwiseAsDense
from tfcompress.rewrites.quantize_activations import quantize_activations
from tfcompress.rewrites.shrink import shrink
from tfcompress.rewrites.spatial_svd import SpatialSVD
from tfcompress.rewrites.split_separable import SplitSeparable
from tfcompress.rewrites.svd import SVD
from tfcompress.rewrites.tensor_train import TensorTrain
from tfcompress.rewrites.tucker import Tucker

get = Registry(
    LayerRewrite,
    AffineAsConvolution,
    CP,
    CompactKernel,
    DepthwiseSeparable,
    FoldBatchNorm,
    GlobalAverageHead,
    PointwiseAsDense,
    SVD,
    SpatialSVD,
    SplitSeparable,
    TensorTrain,
    Tucker,
)

__all__ = [
    "CP",
    "SVD",
    "AffineAsConvolution",
    "CompactKernel",
    "DepthwiseSeparable",
    "FactorizationPlan",
    "Factorizer",
    "FoldBatchNorm",
    "GlobalAverageHead",
    "LayerRewrite",
    "PointwiseAsDense",
    "SpatialSVD",
    "SplitSeparable",
    "TensorTrain",
    "Tucker",
    "apply",
    "factorize",
    "get",
    "plan_factorization",
    "quantize_activations",
    "ranks",
    "recalibrate_batch_norm",
    "shrink",
]
