"""Small models that learn from large ones."""

from tfcompress.distillation.chain import born_again, chain
from tfcompress.distillation.distiller import Distiller
from tfcompress.distillation.drop_layers import drop_layers
from tfcompress.distillation.losses import (
    KL,
    AttentionRelations,
    AttentionScores,
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
from tfcompress.distillation.precompute import precompute
from tfcompress.distillation.taught import Taught
from tfcompress.distillation.teachers import (
    Ensemble,
    KerasTeacher,
    SavedModelTeacher,
    SoftLabels,
    Teacher,
    TFLiteTeacher,
)

__all__ = [
    "KL",
    "AttentionRelations",
    "AttentionScores",
    "AttentionTransfer",
    "Contrastive",
    "Decoupled",
    "DistillationLoss",
    "Distiller",
    "Ensemble",
    "Hints",
    "KerasTeacher",
    "Logits",
    "London",
    "MutualLearning",
    "RelationalAngle",
    "RelationalDistance",
    "SavedModelTeacher",
    "SelfDistillation",
    "SimilarityPreserving",
    "SoftLabels",
    "TFLiteTeacher",
    "Taught",
    "Teacher",
    "born_again",
    "chain",
    "drop_layers",
    "get",
    "precompute",
]
