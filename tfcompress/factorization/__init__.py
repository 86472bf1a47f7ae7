"""Factorises layers into several smaller ones."""

from tfcompress.core.nouns import LayerRewrite
from tfcompress.core.plugin import register
from tfcompress.factorization import ranks
from tfcompress.factorization.cp import CP
from tfcompress.factorization.depthwise_separable import DepthwiseSeparable
from tfcompress.factorization.factorize import (
    FactorizationPlan,
    factorize,
    plan_factorization,
)
from tfcompress.factorization.factorizer import Factorizer
from tfcompress.factorization.global_average_head import GlobalAverageHead
from tfcompress.factorization.spatial_svd import SpatialSVD
from tfcompress.factorization.svd import SVD
from tfcompress.factorization.tensor_train import TensorTrain
from tfcompress.factorization.tucker import Tucker

register(
    LayerRewrite,
    CP,
    DepthwiseSeparable,
    GlobalAverageHead,
    SVD,
    SpatialSVD,
    TensorTrain,
    Tucker,
)

__all__ = [
    "CP",
    "SVD",
    "DepthwiseSeparable",
    "FactorizationPlan",
    "Factorizer",
    "GlobalAverageHead",
    "SpatialSVD",
    "TensorTrain",
    "Tucker",
    "factorize",
    "plan_factorization",
    "ranks",
]
