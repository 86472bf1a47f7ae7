# Written by tests/typing/stubs.py.
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras


import tfcompress
import tfcompress.export

CODECS: tuple[Any, ...]
from tfcompress import decode_tflite as decode_tflite
from tfcompress.tflite.encode import EncodedConstant as EncodedConstant
def export_generation(model: keras.Model, path: str | os.PathLike[str], cache_length: int, prefill_lengths: Sequence[int] = ..., precision: Literal['float32', 'float16', 'dynamic', 'dynamic_int4'] = 'dynamic', cache_shape: Sequence[int] | None = None, verify: bool = True) -> tfcompress.export.ExportResult: ...
from tfcompress import export_tflite as export_tflite
from tfcompress.export.verify import ExportResult as ExportResult
from tfcompress.tflite.sparsity import KernelSparsity as KernelSparsity
NAMES: tuple[Any, ...]
PRECISIONS: tuple[Any, ...]
SPARSE: tuple[Any, ...]
class VerificationError(ValueError):
    def __getattr__(self, name: str) -> Any: ...
