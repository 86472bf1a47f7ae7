# Written by tests/typing/stubs.py.
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras


import tfcompress

def load(name: Literal['cifar10', 'digits', 'fashion_mnist', 'mnist'], data_dir: str | os.PathLike[str] | None = None) -> Any: ...
