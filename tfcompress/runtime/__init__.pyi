# Written by tests/typing/stubs.py.
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras


import tfcompress

from tfcompress.measuring.benchmark import Benchmark as Benchmark
from tfcompress import benchmark as benchmark
class Cascade():
    def __init__(self, model: str | os.PathLike[str] | bytes | bytearray | memoryview, num_threads: int = 1, thresholds: Sequence[float] | None = None) -> None: ...
    def answers(self, inputs: Any) -> Any: ...
    def probabilities(self, inputs: Any) -> Any: ...
    def run(self, inputs: Any) -> Any: ...
    def __getattr__(self, name: str) -> Any: ...
def channel_tile() -> Any: ...
from tfcompress.measuring.chips import Chip as Chip
def delegate_path() -> pathlib.Path: ...
from tfcompress import Interpreter as Interpreter
from tfcompress.runtime.sparse_costs import SparseCosts as SparseCosts
