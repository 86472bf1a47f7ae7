"""Network compression for Keras 3: smaller and faster models that can be believed."""

import importlib.metadata

from tfcompress.core.quiet import native_notes_dropped

with native_notes_dropped():
    import tensorflow  # noqa: F401

from tfcompress import (
    activations,
    blocks,
    callbacks,
    coding,
    criteria,
    datasets,
    distillation,
    export,
    interop,
    layers,
    patterns,
    post_training,
    ranges,
    recipes,
    rewrites,
    runtime,
    schedules,
    scopes,
    transforms,
)
from tfcompress.channel_pruning import prune_channels
from tfcompress.core.channels.listing import channel_groups
from tfcompress.core.compress import compress, strip
from tfcompress.core.compressed import CompressedModel
from tfcompress.core.report import report
from tfcompress.export import decode_tflite, export_tflite
from tfcompress.interop.load import load_model
from tfcompress.post_training import (
    mixed_precision,
    quantize_ladder,
    quantize_weights,
)
from tfcompress.recipe import Recipe
from tfcompress.rewrites import factorize, quantize_activations, shrink
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
    "activations",
    "benchmark",
    "blocks",
    "callbacks",
    "channel_groups",
    "coding",
    "compare",
    "compress",
    "criteria",
    "datasets",
    "decode_tflite",
    "distillation",
    "export",
    "export_tflite",
    "factorize",
    "interop",
    "layers",
    "load_model",
    "mixed_precision",
    "patterns",
    "post_training",
    "prune_channels",
    "quantize_activations",
    "quantize_ladder",
    "quantize_weights",
    "ranges",
    "recipes",
    "report",
    "rewrites",
    "runtime",
    "schedules",
    "scopes",
    "shrink",
    "strip",
    "transforms",
]
