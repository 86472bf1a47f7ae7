"""Importance measures: how much each weight matters."""

from tfcompress.core.nouns import Criterion
from tfcompress.core.plugin import register
from tfcompress.pruning.criteria.activation_deviation import ActivationDeviation
from tfcompress.pruning.criteria.activation_mean import ActivationMean
from tfcompress.pruning.criteria.apoz import Apoz
from tfcompress.pruning.criteria.batch_norm_gamma import BatchNormGamma
from tfcompress.pruning.criteria.fisher import Fisher
from tfcompress.pruning.criteria.gradient import Gradient
from tfcompress.pruning.criteria.grasp import GraSP
from tfcompress.pruning.criteria.lamp import LAMP
from tfcompress.pruning.criteria.lifelong import Lifelong
from tfcompress.pruning.criteria.magnitude import (
    L1,
    L2,
    Magnitude,
    MagnitudePerSign,
)
from tfcompress.pruning.criteria.mas import MAS
from tfcompress.pruning.criteria.minus_cost import MinusCost
from tfcompress.pruning.criteria.momentum import Momentum
from tfcompress.pruning.criteria.obd import OBD
from tfcompress.pruning.criteria.pcas import PCAS
from tfcompress.pruning.criteria.random import Random
from tfcompress.pruning.criteria.snip import SNIP
from tfcompress.pruning.criteria.synflow import SynFlow
from tfcompress.pruning.criteria.taylor import Taylor
from tfcompress.pruning.criteria.taylor_gate import TaylorGate
from tfcompress.pruning.criteria.taylor_map import TaylorMap
from tfcompress.pruning.criteria.wanda import Wanda

get = Criterion.get
register(
    Criterion,
    L1,
    L2,
    LAMP,
    MAS,
    OBD,
    PCAS,
    SNIP,
    ActivationDeviation,
    ActivationMean,
    Apoz,
    BatchNormGamma,
    Fisher,
    GraSP,
    Gradient,
    Lifelong,
    Magnitude,
    MagnitudePerSign,
    MinusCost,
    Momentum,
    Random,
    SynFlow,
    Taylor,
    TaylorGate,
    TaylorMap,
    Wanda,
)

__all__ = [
    "L1",
    "L2",
    "LAMP",
    "MAS",
    "OBD",
    "PCAS",
    "SNIP",
    "ActivationDeviation",
    "ActivationMean",
    "Apoz",
    "BatchNormGamma",
    "Criterion",
    "Fisher",
    "GraSP",
    "Gradient",
    "Lifelong",
    "Magnitude",
    "MagnitudePerSign",
    "MinusCost",
    "Momentum",
    "Random",
    "SynFlow",
    "Taylor",
    "TaylorGate",
    "TaylorMap",
    "Wanda",
    "get",
]
