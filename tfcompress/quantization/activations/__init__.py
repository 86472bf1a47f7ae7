"""Quantizers that make activations cheap to compute with."""

from tfcompress.core.nouns import ActivationQuantizer
from tfcompress.core.plugin import register
from tfcompress.quantization.activations.approx_sign import ApproxSign
from tfcompress.quantization.activations.sign import Sign
from tfcompress.quantization.activations.swish_sign import SwishSign
from tfcompress.quantization.activations.ternary_sign import TernarySign
from tfcompress.transforms import BFloat16, Half, PowerOfTwo

get = ActivationQuantizer.get
register(
    ActivationQuantizer,
    ApproxSign,
    BFloat16,
    Half,
    PowerOfTwo,
    Sign,
    SwishSign,
    TernarySign,
)

__all__ = [
    "ActivationQuantizer",
    "ApproxSign",
    "BFloat16",
    "Half",
    "PowerOfTwo",
    "Sign",
    "SwishSign",
    "TernarySign",
    "get",
]
