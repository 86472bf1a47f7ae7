"""What a budget buys: bits and methods chosen by what they cost."""

from tfcompress.search.faster_pointwise import faster_pointwise
from tfcompress.search.ladder import Ladder, Rung, quantize_ladder
from tfcompress.search.latency import LatencyTable
from tfcompress.search.mixed_precision import (
    LayerBits,
    MixedPrecision,
    mixed_precision,
)
from tfcompress.search.sensitivity import (
    LayerSensitivity,
    Sensitivity,
    sensitivity,
)

__all__ = [
    "Ladder",
    "LatencyTable",
    "LayerBits",
    "LayerSensitivity",
    "MixedPrecision",
    "Rung",
    "Sensitivity",
    "faster_pointwise",
    "mixed_precision",
    "quantize_ladder",
    "sensitivity",
]
