"""Layers of compressed models."""

from tfcompress.core.compressed import CompressedLayer
from tfcompress.layers.fake_quant import FakeQuant
from tfcompress.layers.learned_step_quant import LearnedStepQuant
from tfcompress.layers.quantized_activation import QuantizedActivation

__all__ = ["CompressedLayer", "FakeQuant", "LearnedStepQuant", "QuantizedActivation"]
