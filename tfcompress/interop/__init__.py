"""Loads models from elsewhere: Keras 2 and its optimization toolkit, as Keras 3.

Models that Keras 3 quantized become float ones on the same grids.
"""

from tfcompress.interop import tfmot
from tfcompress.quantization.keras_quantized import dequantize

__all__ = ["dequantize", "tfmot"]
