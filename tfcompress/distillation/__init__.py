"""Small models that learn from large ones."""

from tfcompress.core.nouns import DistillationLoss
from tfcompress.core.plugin import Registry
from tfcompress.distillation.kl import KL

get = Registry(DistillationLoss, KL)

__all__ = ["KL", "DistillationLoss", "get"]
