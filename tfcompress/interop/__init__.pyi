# Written by tests/typing/stubs.py.
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras


import tfcompress

def dequantize(model: keras.Model) -> keras.Model: ...
from tfcompress.interop import tfmot as tfmot
