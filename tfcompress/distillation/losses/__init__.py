"""Losses: what a student should have in common with its teacher."""

from tfcompress.core.nouns import DistillationLoss
from tfcompress.core.plugin import register
from tfcompress.distillation.losses.attention_relations import AttentionRelations
from tfcompress.distillation.losses.attention_scores import AttentionScores
from tfcompress.distillation.losses.attention_transfer import AttentionTransfer
from tfcompress.distillation.losses.contrastive import Contrastive
from tfcompress.distillation.losses.decoupled import Decoupled
from tfcompress.distillation.losses.hints import Hints
from tfcompress.distillation.losses.kl import KL
from tfcompress.distillation.losses.logits import Logits
from tfcompress.distillation.losses.london import London
from tfcompress.distillation.losses.relational_angle import RelationalAngle
from tfcompress.distillation.losses.relational_distance import RelationalDistance
from tfcompress.distillation.losses.self_distillation import SelfDistillation
from tfcompress.distillation.losses.similarity_preserving import SimilarityPreserving

get = DistillationLoss.get
register(
    DistillationLoss,
    AttentionRelations,
    AttentionScores,
    AttentionTransfer,
    Contrastive,
    Decoupled,
    Hints,
    KL,
    Logits,
    London,
    RelationalAngle,
    RelationalDistance,
    SelfDistillation,
    SimilarityPreserving,
)

__all__ = [
    "KL",
    "AttentionRelations",
    "AttentionScores",
    "AttentionTransfer",
    "Contrastive",
    "Decoupled",
    "DistillationLoss",
    "Hints",
    "Logits",
    "London",
    "RelationalAngle",
    "RelationalDistance",
    "SelfDistillation",
    "SimilarityPreserving",
    "get",
]
