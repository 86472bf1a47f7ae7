# Written by tests/typing/stubs.py.
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras


import tfcompress

from tfcompress.search.result import Candidate as Candidate
from tfcompress import compress_to as compress_to
from tfcompress.search import engines as engines
from tfcompress.post_training import faster_pointwise as faster_pointwise
from tfcompress.search.ladder import Ladder as Ladder
class LatencyTable():
    def __init__(self, path: str | os.PathLike[str] | None = None, num_threads: int = 1) -> None: ...
    def predict(self, model: str | os.PathLike[str] | bytes | bytearray | memoryview) -> Any: ...
    def __len__(self) -> Any: ...
    def __getattr__(self, name: str) -> Any: ...
from tfcompress.search.mixed_precision import LayerBits as LayerBits
from tfcompress.search.sensitivity import LayerSensitivity as LayerSensitivity
from tfcompress import mixed_precision as mixed_precision
from tfcompress.search.mixed_precision import MixedPrecision as MixedPrecision
from tfcompress import quantize_ladder as quantize_ladder
from tfcompress.search.ladder import Rung as Rung
from tfcompress.search.result import SearchResult as SearchResult
from tfcompress.search.sensitivity import Sensitivity as Sensitivity
from tfcompress import sensitivity as sensitivity
class Study():
    def __init__(self, flat: Any, space: Any, graph: Any, data: Any, scored: Any, making: Any, folder: Any, latency: Any, verbose: Any, training: Any = None) -> None: ...
    def candidate(self, member: Any, is_trained: Any = False) -> Any: ...
    def harms(self, rows: Any, sensitivity: Any = 'output_error') -> Any: ...
    def progress(self, total: Any, unit: Any) -> Any: ...
    def score(self, member: Any) -> Any: ...
    def __getattr__(self, name: str) -> Any: ...
