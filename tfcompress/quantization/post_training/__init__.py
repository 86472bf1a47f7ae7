"""Post-training quantization."""

from tfcompress.core.nouns import Rounding
from tfcompress.core.plugin import register
from tfcompress.quantization.post_training.ada_round import AdaRound
from tfcompress.quantization.post_training.equalize import equalize
from tfcompress.quantization.post_training.gptq import GPTQ
from tfcompress.quantization.post_training.inputs import Inputs
from tfcompress.quantization.post_training.nearest import Nearest
from tfcompress.quantization.post_training.quantize_weights import quantize_weights
from tfcompress.quantization.post_training.scale_inputs import scale_inputs

get = Rounding.get
register(Rounding, AdaRound, GPTQ, Nearest)

__all__ = [
    "GPTQ",
    "AdaRound",
    "Inputs",
    "Nearest",
    "Rounding",
    "equalize",
    "get",
    "quantize_weights",
    "scale_inputs",
]
