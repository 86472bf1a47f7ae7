"""Turns a Keras model into the plain one that is converted."""

import keras
import numpy as np
from keras.backend import is_float_dtype

from tfcompress.core.behaviour import has_ranges, is_fake_quant
from tfcompress.core.cloning import clone_layer, is_graph, rebuild
from tfcompress.core.compress import as_plain, compress, strip
from tfcompress.core.compressed import treatments
from tfcompress.core.errors import check_finite
from tfcompress.core.graph import Graph, flatten, rewire
from tfcompress.core.keras_internals import all_layers, recast
from tfcompress.core.walk import weight_refs
from tfcompress.export.binary import (
    with_binary_operations,
    without_binary_operations,
)
from tfcompress.export.weights import lies_on_grid
from tfcompress.quantization.keras_quantized import dequantize, is_quantized
from tfcompress.quantization.quantize_activations import quantize_activations
from tfcompress.rewrites.affine import AffineAsConvolution
from tfcompress.rewrites.apply import apply_to_flat
from tfcompress.rewrites.fold_batch_norm import FoldBatchNorm
from tfcompress.transforms.uniform import Uniform

PROFILES = ("custom", "builtin")
# Numbers from here on may stand for infinity, by the operation that reads them, ...
_LEAST_INFINITE = {"Add": 1e4, "Subtract": 1e4, "Multiply": 1e8}
# ... if they are this many times as far from 0 as any range of the model.
_TIMES_AS_FAR = 4
# Steps from zero of an int8 weight, as the converter writes it.
_INT8_LEVELS = 127
NUM_CALIBRATION_SAMPLES = 256


def plain_model(model, precision):
    """The model itself or its stripped copy, in float32.

    Args:
        model: a built Keras model, plain or compressed.
        precision: a `Precision`.

    Raises:
        ValueError: if the file cannot hold what was trained, or a weight is not finite.
    """
    plain = _stripped(model, precision)
    plain = _in_float32(dequantize(plain) if is_quantized(plain) else plain)
    for ref in weight_refs(plain):
        check_finite(f"Weight {ref.path}", ref.variable.numpy())
    return plain


def with_binary_layers(model, precision, samples, profile, only_signs):
    """The model with binary operations, and a `BinaryLayer` for each candidate.

    Args:
        model: from `plain_model`.
        precision: a `Precision`.
        samples: `{input name: array}` or None.
        profile: one of `PROFILES`.
        only_signs: whether layers that read real values stay ordinary.
    """
    if profile == "builtin":
        return model, without_binary_operations(model, "profile='builtin'")
    if precision.without_binary:
        return model, without_binary_operations(model, precision.without_binary)
    rewritten, layers = with_binary_operations(model, only_signs)
    is_measured = precision.is_integer and not has_ranges(model)
    if rewritten is not model and is_measured:
        # The converter cannot run binary operations to measure their outputs.
        few = {
            tensor.name: array[:NUM_CALIBRATION_SAMPLES]
            for tensor, array in zip(rewritten.inputs, samples.values(), strict=True)
        }
        rewritten = strip(
            quantize_activations(rewritten, ranges="min_max", samples=few)
        )
    return rewritten, layers


def prepared(model, precision):
    """A form of the model that the converter can take; the model itself if it can.

    Args:
        model: a plain Keras model in float32.
        precision: a `Precision`.
    """
    is_ranged = has_ranges(model)
    if precision.holds_ranges and is_ranged:
        # Batch norm without a convolution to fold into would become two operations, with no
        # range between them.
        model = flatten(model)
        for rewrite in (FoldBatchNorm(), AffineAsConvolution(batch_norm=True)):
            model = apply_to_flat(model, rewrite)
        model = _with_bounded_numbers(model)
    if precision.packs_kernels:
        model = _on_grids(model, precision.weight_bits)
    is_unrolled = precision.unrolls_loops and not is_ranged
    return _unrolled(model) if is_unrolled else model


def _with_bounded_numbers(model):
    """The model itself, or a copy without numbers that stand for infinity.

    The ranges that follow clip them anyway, and integer kernels end the process at the
    scales that they would have.
    """
    nodes = Graph(model).nodes
    ranges = [node.arguments for node in nodes if is_fake_quant(node.operation)]
    ends = keras.tree.flatten([(r.args[1:], r.kwargs) for r in ranges])
    bound = _TIMES_AS_FAR * max(abs(n) for n in ends if isinstance(n, float))

    def bounded(operation, value):
        least = _LEAST_INFINITE.get(type(operation).__name__)
        if least is None or keras.backend.is_keras_tensor(value):
            return value
        is_number = isinstance(value, (int, float)) or hasattr(value, "dtype")
        if not is_number or not np.any(np.abs(value) >= max(least, bound)):
            return value
        if isinstance(value, (int, float)):
            # A number of NumPy would make Keras compute in float64.
            return float(np.clip(value, -bound, bound))
        array = np.asarray(value)
        return np.clip(array, -bound, bound).astype(
            array.dtype if array.dtype.kind == "f" else np.float32
        )

    def arguments(operation, args, kwargs):
        return keras.tree.map_structure(
            lambda value: bounded(operation, value), (args, kwargs)
        )

    def call(key, operation, /, *args, **kwargs):
        args, kwargs = arguments(operation, args, kwargs)
        return operation(*args, **kwargs)

    is_far = any(
        bounded(node.operation, value) is not value
        for node in nodes
        for value in keras.tree.flatten((node.arguments.args, node.arguments.kwargs))
    )
    return rewire(model, call) if is_far else model


def _stripped(model, precision):
    """The plain model; raises if the file cannot hold what was trained."""
    if not precision.holds_ranges and has_ranges(model):
        raise ValueError(
            f"Model {model.name!r} has trained 8-bit activation ranges, which a "
            f"{precision.name} file would lose. Export it with precision='int8', or export "
            "the model as it was before tfc.quantize_activations."
        )
    for name, treatment in treatments(model) if precision.is_integer else ():
        for transform in treatment.transforms:
            if (transform.max_level or 0) > _INT8_LEVELS:
                raise ValueError(
                    f"Weight {name!r} was trained on the grid of {transform!r}, which "
                    f"{precision.name} weights (symmetric, 8 bits) cannot hold. Train on "
                    f"at most {_INT8_LEVELS} steps from zero, as with Uniform(bits=8), or "
                    "give up the grid: export tfc.strip(model)."
                )
    return as_plain(model)


def _in_float32(model):
    """The model itself, or a copy in float32, the only float type of files."""
    if not any(map(_is_other_float, all_layers(model))):
        return model
    copy = clone_layer(model)
    for layer in all_layers(copy):
        recast(layer, "float32")
    # Its symbolic tensors have the old precision.
    return rebuild(copy) if is_graph(copy) else copy


def _is_other_float(layer):
    kinds = {layer.compute_dtype, layer.variable_dtype, layer.dtype}
    return any(is_float_dtype(kind) and kind != "float32" for kind in kinds)


def _unrolled(model):
    """The model itself, or a copy with unrolled recurrent layers.

    Operations inside a loop stay float.
    """
    if not any(map(_has_loop, all_layers(model))):
        return model
    copy = clone_layer(model)
    for layer in filter(_has_loop, all_layers(copy)):
        layer.unroll = True
    return copy


def _has_loop(layer):
    return getattr(layer, "unroll", None) is False


def _on_grids(model, bits):
    """A copy whose kernels lie on integer grids; those that already do are kept."""

    def needs_grid(layer):
        kinds = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D)
        return isinstance(layer, kinds) and not lies_on_grid(layer, _INT8_LEVELS)

    if not any(map(needs_grid, all_layers(model))):
        return model
    return strip(compress(model, {needs_grid: Uniform(bits=bits)}))
