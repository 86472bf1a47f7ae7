"""Layers of compressed models."""

from tfcompress.core.compressed import CompressedLayer
from tfcompress.quantization.layers.fake_quant import FakeQuant
from tfcompress.quantization.layers.learned_step_quant import LearnedStepQuant
from tfcompress.quantization.layers.quantized_activation import QuantizedActivation

__all__ = ["CompressedLayer", "FakeQuant", "LearnedStepQuant", "QuantizedActivation"]
