"""Network compression for Keras 3: smaller and faster models that can be believed."""

import importlib.metadata
import sys

from tfcompress.core.quiet import native_notes_dropped

with native_notes_dropped():
    import tensorflow  # noqa: F401

from tfcompress import (
    blocks,
    callbacks,
    coding,
    datasets,
    distillation,
    dynamic,
    export,
    factorization,
    interop,
    pruning,
    recipes,
    rewrites,
    runtime,
    schedules,
    search,
    transforms,
)
from tfcompress.core.compress import compress, strip
from tfcompress.core.compressed import CompressedModel
from tfcompress.core.keras_internals import mend_fit_on_workers
from tfcompress.export import export_tflite
from tfcompress.factorization import factorize
from tfcompress.interop.load import load_model
from tfcompress.measuring.benchmark import Benchmark, benchmark
from tfcompress.measuring.chips import Chip
from tfcompress.measuring.compare import compare
from tfcompress.measuring.fit_check import fit_check
from tfcompress.measuring.report import report
from tfcompress.pruning import criteria, patterns, scopes, signals, solvers
from tfcompress.pruning import penalties as regularizers
from tfcompress.pruning.channels import CompactKernel
from tfcompress.pruning.channels.channel_scale import ChannelScale
from tfcompress.pruning.channels.gates import gate_channels
from tfcompress.pruning.channels.listing import channel_groups
from tfcompress.pruning.channels.prune_channels import prune_channels
from tfcompress.pruning.channels.restore_class import restore_class
from tfcompress.pruning.channels.shrink import shrink
from tfcompress.pruning.posterior_bits import posterior_bits
from tfcompress.pruning.prune import prune
from tfcompress.pruning.solvers.prune_weights import prune_weights
from tfcompress.quantization import activations, layers, post_training, ranges
from tfcompress.quantization.post_training import quantize_weights
from tfcompress.quantization.quantize_activations import quantize_activations
from tfcompress.recipes import Recipe
from tfcompress.runtime import Interpreter
from tfcompress.search import (
    compress_to,
    mixed_precision,
    quantize_ladder,
    sensitivity,
)
from tfcompress.tflite.decode import decode_tflite

mend_fit_on_workers()

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
    "compress_to",
    "criteria",
    "datasets",
    "decode_tflite",
    "distillation",
    "dynamic",
    "export",
    "export_tflite",
    "factorize",
    "fit_check",
    "gate_channels",
    "interop",
    "layers",
    "load_model",
    "mixed_precision",
    "patterns",
    "post_training",
    "prune",
    "prune_channels",
    "prune_weights",
    "pruning",
    "quantize_activations",
    "quantize_ladder",
    "quantize_weights",
    "ranges",
    "recipes",
    "regularizers",
    "report",
    "restore_class",
    "rewrites",
    "runtime",
    "schedules",
    "scopes",
    "search",
    "sensitivity",
    "shrink",
    "signals",
    "solvers",
    "strip",
    "transforms",
]


def _publish(place, *homes, **others):
    """Shows in a public place what lives in rooms above it, which it may not import."""
    names = {name: getattr(home, name) for home in homes for name in home.__all__}
    vars(place).update(names | others)
    place.__all__ = sorted({*place.__all__, *names, *others})


_publish(
    rewrites,
    factorization,
    CompactKernel=CompactKernel,
    quantize_activations=quantize_activations,
    shrink=shrink,
)
_publish(layers, ChannelScale=ChannelScale)
_publish(transforms, posterior_bits=posterior_bits)
# Searches that came before they had a room of their own.
_publish(
    post_training,
    LayerBits=search.LayerBits,
    Ladder=search.Ladder,
    LayerSensitivity=search.LayerSensitivity,
    MixedPrecision=search.MixedPrecision,
    Rung=search.Rung,
    Sensitivity=search.Sensitivity,
    faster_pointwise=search.faster_pointwise,
    mixed_precision=search.mixed_precision,
    quantize_ladder=search.quantize_ladder,
    sensitivity=search.sensitivity,
)
_publish(export, decode_tflite=decode_tflite)
_publish(runtime, Benchmark=Benchmark, Chip=Chip, benchmark=benchmark)

# `import tfcompress.criteria` finds what `tfcompress.criteria` is.
for _home in (
    criteria,
    patterns,
    scopes,
    signals,
    solvers,
    activations,
    layers,
    post_training,
    ranges,
):
    sys.modules[f"{__name__}.{_home.__name__.rpartition('.')[2]}"] = _home
sys.modules[f"{__name__}.regularizers"] = regularizers
sys.modules[f"{__name__}.rewrites.ranks"] = rewrites.ranks
