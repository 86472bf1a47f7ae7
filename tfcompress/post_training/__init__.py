"""Fewer bits without training."""

from tfcompress.core.plugin import Registry
from tfcompress.post_training.adaround import AdaRound
from tfcompress.post_training.gptq import GPTQ
from tfcompress.post_training.matrices import Inputs
from tfcompress.post_training.nearest import Nearest
from tfcompress.post_training.quantize_weights import quantize_weights
from tfcompress.post_training.rounding import Rounding

get = Registry(Rounding, AdaRound, GPTQ, Nearest)

__all__ = [
    "GPTQ",
    "AdaRound",
    "Inputs",
    "Nearest",
    "Rounding",
    "get",
    "quantize_weights",
]
