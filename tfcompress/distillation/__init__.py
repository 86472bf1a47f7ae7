"""Small models that learn from large ones."""

from tfcompress.core.nouns import DistillationLoss
from tfcompress.core.plugin import Registry
from tfcompress.distillation.chain import born_again, chain
from tfcompress.distillation.distiller import Distiller, Taught
from tfcompress.distillation.kl import KL
from tfcompress.distillation.mutual import MutualLearning
from tfcompress.distillation.teachers import KerasTeacher, Teacher

get = Registry(DistillationLoss, KL)

__all__ = [
    "KL",
    "DistillationLoss",
    "Distiller",
    "KerasTeacher",
    "MutualLearning",
    "Taught",
    "Teacher",
    "born_again",
    "chain",
    "get",
]
