"""Functions that make activations cheap to compute with."""

from tfcompress.activations.approx_sign import ApproxSign
from tfcompress.activations.sign import Sign
from tfcompress.activations.swish_sign import SwishSign
from tfcompress.activations.ternary_sign import TernarySign
from tfcompress.core.nouns import ActivationQuantizer
from tfcompress.core.plugin import Registry
from tfcompress.transforms import BFloat16, Half, PowerOfTwo

get = Registry(
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
