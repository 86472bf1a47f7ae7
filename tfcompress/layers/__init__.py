"""Layers of compressed models."""

from tfcompress.core.compressed import CompressedLayer
from tfcompress.layers.fake_quant import FakeQuant

__all__ = ["CompressedLayer", "FakeQuant"]
