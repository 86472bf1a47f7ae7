# Written by tests/typing/stubs.py.
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras


import tfcompress

from tfcompress.interop import tfmot as tfmot
