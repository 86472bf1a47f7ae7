"""Importance measures: how much each weight matters."""

from tfcompress.core.nouns import Criterion
from tfcompress.core.plugin import register
from tfcompress.pruning.criteria.magnitude import L1, L2, Magnitude

get = Criterion.get
register(Criterion, L1, L2, Magnitude)

__all__ = ["L1", "L2", "Criterion", "Magnitude", "get"]
