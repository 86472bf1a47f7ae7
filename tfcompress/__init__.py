"""Network compression for Keras 3: smaller and faster models that can be believed."""

import importlib.metadata

from tfcompress.core.quiet import native_notes_dropped

with native_notes_dropped():
    import tensorflow  # noqa: F401

from tfcompress import (
    callbacks,
    criteria,
    datasets,
    export,
    interop,
    layers,
    patterns,
    rewrites,
    runtime,
    schedules,
    scopes,
    transforms,
)
from tfcompress.core.compress import compress, strip
from tfcompress.core.compressed import CompressedModel
from tfcompress.core.report import report
from tfcompress.export import export_tflite
from tfcompress.interop.load import load_model
from tfcompress.recipe import Recipe
from tfcompress.rewrites import quantize_activations
from tfcompress.runtime.benchmark import benchmark
from tfcompress.runtime.compare import compare
from tfcompress.runtime.interpreter import Interpreter

try:
    __version__ = importlib.metadata.version("tfcompress")
except importlib.metadata.PackageNotFoundError:
    __version__ = "0+source"

__all__ = [
    "CompressedModel",
    "Interpreter",
    "Recipe",
    "benchmark",
    "callbacks",
    "compare",
    "compress",
    "criteria",
    "datasets",
    "export",
    "export_tflite",
    "interop",
    "layers",
    "load_model",
    "patterns",
    "quantize_activations",
    "report",
    "rewrites",
    "runtime",
    "schedules",
    "scopes",
    "strip",
    "transforms",
]
