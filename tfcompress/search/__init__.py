"""Searches for the methods and bits that fit a budget with the least harm."""

from tfcompress.search import engines
from tfcompress.search.compress_to import compress_to
from tfcompress.search.faster_pointwise import faster_pointwise
from tfcompress.search.ladder import Ladder, Rung, quantize_ladder
from tfcompress.search.latency import LatencyTable
from tfcompress.search.mixed_precision import (
    LayerBits,
    MixedPrecision,
    mixed_precision,
)
from tfcompress.search.result import Candidate, SearchResult
from tfcompress.search.sensitivity import (
    LayerSensitivity,
    Sensitivity,
    sensitivity,
)
from tfcompress.search.study import Study

__all__ = [
    "Candidate",
    "Ladder",
    "LatencyTable",
    "LayerBits",
    "LayerSensitivity",
    "MixedPrecision",
    "Rung",
    "SearchResult",
    "Sensitivity",
    "Study",
    "compress_to",
    "engines",
    "faster_pointwise",
    "mixed_precision",
    "quantize_ladder",
    "sensitivity",
]
