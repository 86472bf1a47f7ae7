"""Small models that learn from large ones."""

from tfcompress.core.nouns import DistillationLoss
from tfcompress.core.plugin import Registry
from tfcompress.distillation.attention_transfer import AttentionTransfer
from tfcompress.distillation.chain import born_again, chain
from tfcompress.distillation.contrastive import Contrastive
from tfcompress.distillation.decoupled import Decoupled
from tfcompress.distillation.distiller import Distiller, Taught
from tfcompress.distillation.hints import Hints
from tfcompress.distillation.kl import KL
from tfcompress.distillation.logits import Logits
from tfcompress.distillation.london import London
from tfcompress.distillation.mutual import MutualLearning
from tfcompress.distillation.relational_angle import RelationalAngle
from tfcompress.distillation.relational_distance import RelationalDistance
from tfcompress.distillation.self_distillation import SelfDistillation
from tfcompress.distillation.similarity_preserving import SimilarityPreserving
from tfcompress.distillation.teachers import KerasTeacher, Teacher

get = Registry(
    DistillationLoss,
    KL,
    Logits,
    Decoupled,
    Hints,
    AttentionTransfer,
    RelationalDistance,
    RelationalAngle,
    SimilarityPreserving,
    Contrastive,
    London,
    SelfDistillation,
)

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
