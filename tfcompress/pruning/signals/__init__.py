"""Statistics of weights, measured over data for the criteria that need them."""

from tfcompress.core.nouns import Signal, Signals
from tfcompress.core.plugin import register
from tfcompress.pruning.signals.activation_deviation import ActivationDeviation
from tfcompress.pruning.signals.activation_gradient import ActivationGradient
from tfcompress.pruning.signals.activation_mean import ActivationMean
from tfcompress.pruning.signals.activation_zeros import ActivationZeros
from tfcompress.pruning.signals.attention import Attention
from tfcompress.pruning.signals.batch_norm_gamma import BatchNormGamma
from tfcompress.pruning.signals.gate_gradient import GateGradient
from tfcompress.pruning.signals.gradient import Gradient
from tfcompress.pruning.signals.gradient_flow import GradientFlow
from tfcompress.pruning.signals.hessian_diagonal import HessianDiagonal
from tfcompress.pruning.signals.input_moments import InputMoments
from tfcompress.pruning.signals.input_norm import InputNorm
from tfcompress.pruning.signals.momentum import Momentum
from tfcompress.pruning.signals.output_sensitivity import OutputSensitivity
from tfcompress.pruning.signals.positions import Positions
from tfcompress.pruning.signals.squared_batch_gradient import SquaredBatchGradient
from tfcompress.pruning.signals.squared_gradient import SquaredGradient
from tfcompress.pruning.signals.synaptic_flow import SynapticFlow

get = Signal.get
register(
    Signal,
    ActivationDeviation,
    ActivationGradient,
    ActivationMean,
    ActivationZeros,
    Attention,
    BatchNormGamma,
    GateGradient,
    Gradient,
    GradientFlow,
    HessianDiagonal,
    InputMoments,
    InputNorm,
    Momentum,
    OutputSensitivity,
    Positions,
    SquaredBatchGradient,
    SquaredGradient,
    SynapticFlow,
)

__all__ = [
    "ActivationDeviation",
    "ActivationGradient",
    "ActivationMean",
    "ActivationZeros",
    "Attention",
    "BatchNormGamma",
    "GateGradient",
    "Gradient",
    "GradientFlow",
    "HessianDiagonal",
    "InputMoments",
    "InputNorm",
    "Momentum",
    "OutputSensitivity",
    "Positions",
    "Signal",
    "Signals",
    "SquaredBatchGradient",
    "SquaredGradient",
    "SynapticFlow",
    "get",
]
