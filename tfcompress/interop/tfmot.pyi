# Written by tests/typing/stubs.py.
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras


import tfcompress

def convert(path_or_model: str | os.PathLike[str] | Any, activations: bool = False, safe_mode: bool = True) -> keras.Model: ...
def is_installed() -> bool: ...
