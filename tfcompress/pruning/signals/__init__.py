"""What is measured of weights over data, for criteria that ask for it."""

from tfcompress.core.nouns import Signal, Signals
from tfcompress.core.plugin import register
from tfcompress.pruning.signals.activation_deviation import ActivationDeviation
from tfcompress.pruning.signals.activation_gradient import ActivationGradient
from tfcompress.pruning.signals.activation_mean import ActivationMean
from tfcompress.pruning.signals.activation_zeros import ActivationZeros
from tfcompress.pruning.signals.gradient import Gradient
from tfcompress.pruning.signals.hessian_diagonal import HessianDiagonal
from tfcompress.pruning.signals.input_moments import InputMoments
from tfcompress.pruning.signals.momentum import Momentum
from tfcompress.pruning.signals.squared_gradient import SquaredGradient

get = Signal.get
register(
    Signal,
    ActivationDeviation,
    ActivationGradient,
    ActivationMean,
    ActivationZeros,
    Gradient,
    HessianDiagonal,
    InputMoments,
    Momentum,
    SquaredGradient,
)

__all__ = [
    "ActivationDeviation",
    "ActivationGradient",
    "ActivationMean",
    "ActivationZeros",
    "Gradient",
    "HessianDiagonal",
    "InputMoments",
    "Momentum",
    "Signal",
    "Signals",
    "SquaredGradient",
    "get",
]
