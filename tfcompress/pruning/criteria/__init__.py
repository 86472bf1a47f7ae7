"""Importance measures: how much each weight matters."""

from tfcompress.core.nouns import Criterion
from tfcompress.core.plugin import register
from tfcompress.pruning.criteria.gradient import Gradient
from tfcompress.pruning.criteria.magnitude import (
    L1,
    L2,
    Magnitude,
    MagnitudePerSign,
)
from tfcompress.pruning.criteria.momentum import Momentum
from tfcompress.pruning.criteria.random import Random

get = Criterion.get
register(Criterion, Gradient, L1, L2, Magnitude, MagnitudePerSign, Momentum, Random)

__all__ = [
    "L1",
    "L2",
    "Criterion",
    "Gradient",
    "Magnitude",
    "MagnitudePerSign",
    "Momentum",
    "Random",
    "get",
]
