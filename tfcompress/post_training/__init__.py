"""Fewer bits without training."""

from tfcompress.core.plugin import Registry
from tfcompress.post_training.ada_round import AdaRound
from tfcompress.post_training.equalize import equalize
from tfcompress.post_training.faster_pointwise import faster_pointwise
from tfcompress.post_training.gptq import GPTQ
from tfcompress.post_training.ladder import Ladder, Rung, quantize_ladder
from tfcompress.post_training.matrices import Inputs
from tfcompress.post_training.mixed_precision import (
    LayerBits,
    MixedPrecision,
    mixed_precision,
)
from tfcompress.post_training.nearest import Nearest
from tfcompress.post_training.quantize_weights import quantize_weights
from tfcompress.post_training.rounding import Rounding

get = Registry(Rounding, AdaRound, GPTQ, Nearest)

__all__ = [
    "GPTQ",
    "AdaRound",
    "Inputs",
    "Ladder",
    "LayerBits",
    "MixedPrecision",
    "Nearest",
    "Rounding",
    "Rung",
    "equalize",
    "faster_pointwise",
    "get",
    "mixed_precision",
    "quantize_ladder",
    "quantize_weights",
]
