"""Small models that learn from large ones."""

from tfcompress.distillation.chain import born_again, chain
from tfcompress.distillation.distiller import Distiller, Taught
from tfcompress.distillation.losses import (
    KL,
    AttentionTransfer,
    Contrastive,
    Decoupled,
    DistillationLoss,
    Hints,
    Logits,
    London,
    RelationalAngle,
    RelationalDistance,
    SelfDistillation,
    SimilarityPreserving,
    get,
)
from tfcompress.distillation.mutual import MutualLearning
from tfcompress.distillation.teachers import KerasTeacher, Teacher

__all__ = [
    "KL",
    "AttentionTransfer",
    "Contrastive",
    "Decoupled",
    "DistillationLoss",
    "Distiller",
    "Hints",
    "KerasTeacher",
    "Logits",
    "London",
    "MutualLearning",
    "RelationalAngle",
    "RelationalDistance",
    "SelfDistillation",
    "SimilarityPreserving",
    "Taught",
    "Teacher",
    "born_again",
    "chain",
    "get",
]
