"""Small models that learn from large ones."""

from tfcompress.core.nouns import DistillationLoss
from tfcompress.core.plugin import Registry
from tfcompress.distillation.distiller import Distiller
from tfcompress.distillation.kl import KL
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

get = Registry(DistillationLoss, KL)

__all__ = [
    "KL",
    "DistillationLoss",
    "Distiller",
    "Ensemble",
    "KerasTeacher",
    "SavedModelTeacher",
    "SoftLabels",
    "TFLiteTeacher",
    "Taught",
    "Teacher",
    "get",
    "precompute",
]
