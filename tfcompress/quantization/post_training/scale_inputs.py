"""Activation-aware scaling: inputs that matter get finer steps."""

import keras
import numpy as np

from tfcompress.core.behaviour import PASSIVE, has_ranges
from tfcompress.core.cloning import rebuild
from tfcompress.core.data import Samples
from tfcompress.core.graph import Graph
from tfcompress.core.keras_internals import all_layers, symbolic_calls
from tfcompress.core.kinds import BuiltModel, Integer, OneOf, checked
from tfcompress.core.left_out import warn_of
from tfcompress.core.matrices import from_matrix, has_matrix, rows, to_matrix
from tfcompress.core.walk import tied_layers
from tfcompress.quantization.post_training.folded import folded
from tfcompress.quantization.post_training.inputs import measure
from tfcompress.quantization.post_training.nearest import Nearest
from tfcompress.quantization.post_training.quantize_weights import BLOCK_SIZES
from tfcompress.quantization.post_training.scales import block_scales, channel_scales
from tfcompress.quantization.post_training.side_by_side import run_side_by_side

L = keras.layers

_EXPONENTS = np.linspace(0.0, 1.0, 21)
_NORMALIZATION = L.LayerNormalization, L.RMSNormalization
# f(x / s) = f(x) / s for each channel and s > 0.
_HOMOGENEOUS = keras.activations.linear, keras.activations.relu


@checked
def scale_inputs(
    model: BuiltModel(),
    samples: Samples(),
    bits: Integer(2, 8) = 4,
    block_size: OneOf(*BLOCK_SIZES, None) = None,
) -> keras.Model:
    """Returns a plain copy of `model` with the same outputs whose weights round better.

    Each input `i` of dense layers is divided, and its weights are multiplied, by

        s_i = m_i^α / sqrt(max m^α min m^α),    m_i = E|x_i|

    so that weights of large inputs are rounded more finely. Of `α = 0, 0.05, … 1`, the one
    with the smallest error of outputs is chosen, `Q` being rounding to the nearest levels:

        Σ E‖xᵀ (Q(s W) / s - W)‖²

    summed over the layers that read `x`. `1 / s` becomes part of what comes before: the
    gamma and beta of a layer or RMS normalization, or the kernel and bias of a dense layer
    without activation or with ReLU. Layers after anything else are not changed, which a
    warning says: there, it would take a multiplication. Call `tfc.quantize_weights` on the
    result, with the same `bits` and `block_size` and any rounding. Batch norm is folded
    first.

    Args:
        model: a Sequential or Functional model, or a subclassed one whose `call` uses
            only Keras; compressed models are stripped.
        samples: a few hundred typical inputs: an array, `{input name: array}` or a dataset
            of batches.
        bits: 2 to 8, the bits to which kernels will be rounded.
        block_size: as in `tfc.quantize_weights`; layers whose inputs it does not divide
            have a step for each output.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if samples do not match, or the model has activation ranges.

    Source: AWQ: Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression
    and Acceleration" (2023), section 3.2.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.LayerNormalization(),
        ...     keras.layers.Dense(4)])
        >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
        >>> scaled = tfc.post_training.scale_inputs(model, x)
        >>> bool(np.abs(scaled(x) - model(x)).max() < 1e-5)
        True
    """
    flat = folded(model)
    if has_ranges(flat):
        raise ValueError(
            f"Model {model.name!r} has activation ranges, which scaled inputs would "
            "invalidate: call scale_inputs before tfc.quantize_activations."
        )
    sites = _sites(flat)
    readers = {id(layer): site for site in sites for layer in site[1]}
    scales = {}

    def visit(exact, _, inputs, __):
        _, layers = readers[id(exact)]
        if id(layers[0]) not in scales:
            scales[id(layers[0])] = _best_scale(layers, inputs, bits, block_size)

    copy = rebuild(flat)
    run_side_by_side(flat, rebuild(flat), samples, list(_layers(sites)), visit)
    pairs = zip(all_layers(flat), all_layers(copy), strict=True)
    copies = {id(exact): layer for exact, layer in pairs}
    for source, layers in sites:
        if id(layers[0]) in scales:
            scale = scales[id(layers[0])]
            _divide(copies[id(source)], scale)
            for layer in layers:
                _multiply(copies[id(layer)], scale)
    return copy


def _layers(sites):
    return (layer for _, layers in sites for layer in layers)


def _sites(flat):
    """`[(layer that can be divided, [layers that read only its output])]`.

    Warns about dense layers that are not among them.
    """
    graph, tied = Graph(flat), tied_layers(flat)
    sites = []
    for node in graph.nodes:
        source = node.operation
        if source.name in tied or not _can_be_divided(source):
            continue
        readers = _readers(graph, node)
        if readers and all(_reads_channels(a) and a.name not in tied for a in readers):
            sites.append((source, readers))
    scaled = {id(layer) for layer in _layers(sites)}
    operations = {id(node.operation): node.operation for node in graph.nodes}
    warn_of(
        {
            layer.name: layer
            for layer in operations.values()
            if _reads_channels(layer) and id(layer) not in scaled
        },
        "scale_inputs left {layers} unchanged",
        "What comes before is neither a normalization nor a dense layer that only such "
        "layers read, so that its outputs cannot be divided without a multiplication.",
    )
    return sites


def _readers(graph, node):
    """The operations that read an output, also through layers without effect; or []."""
    if any(id(tensor) in graph.outputs for tensor in node.outputs):
        return []
    found = []
    for reader in graph.consumers(node):
        if isinstance(reader.operation, PASSIVE):
            inside = _readers(graph, reader)
            if not inside:
                return []
            found += inside
        else:
            found.append(reader.operation)
    return list({id(operation): operation for operation in found}.values())


def _can_be_divided(layer):
    if isinstance(layer, _NORMALIZATION):
        axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
        is_last = axes in ([-1], [len(layer.output.shape) - 1])
        return is_last and _gain(layer) is not None and _is_called_once(layer)
    return (
        isinstance(layer, L.Dense)
        and has_matrix(layer)
        and layer.activation in _HOMOGENEOUS
        and _is_called_once(layer)
    )


def _is_called_once(layer):
    return len(symbolic_calls(layer)) == 1


def _gain(layer):
    """The weight with which a normalization multiplies, None if it has none."""
    name = "scale" if isinstance(layer, L.RMSNormalization) else "gamma"
    return getattr(layer, name, None)


def _reads_channels(operation):
    """Whether it is a dense layer that sums over the last axis of its inputs only."""
    is_dense = isinstance(operation, (L.Dense, L.EinsumDense))
    if not is_dense or not has_matrix(operation) or not _is_called_once(operation):
        return False
    size = to_matrix(operation, operation.kernel.numpy()).shape[1]
    if not isinstance(operation, L.EinsumDense):
        return True
    read, _ = operation.equation.replace(" ", "").split("->")[0].split(",")
    made = operation.equation.split("->")[1]
    return read[-1] not in made and size == operation.input.shape[-1]


def _best_scale(layers, inputs, bits, block_size):
    """`s`, array `(inputs,)`."""
    level = 2 ** (bits - 1) - 1
    moments = measure(layers[0], inputs, inputs, needs_moments=True).moments
    total = [np.abs(rows(layers[0], x)[0]) for x in inputs]
    mean = np.mean(np.concatenate(total).astype(np.float64), axis=0)
    mean = np.where(mean > 0, mean, 1.0)
    weights = [to_matrix(a, a.kernel.numpy().astype(np.float64)) for a in layers]
    has_blocks = block_size and mean.size % block_size == 0
    best, least = np.ones_like(mean), np.inf
    for exponent in _EXPONENTS:
        power = mean**exponent
        scale = power / np.sqrt(power.max() * power.min())
        error = 0.0
        for weight in weights:
            scaled = weight * scale[:, None]
            steps = (
                block_scales(scaled, level, block_size)
                if has_blocks
                else channel_scales(scaled, level)
            )
            change = Nearest()(scaled, steps, level) * steps / scale[:, None] - weight
            error += float(np.sum(change * (moments @ change)))
        if error < least:
            best, least = scale, error
    return best


def _divide(layer, scale):
    """Divides the outputs of a layer."""
    if isinstance(layer, L.Dense):
        layer.kernel.assign(layer.kernel.numpy() / scale)
        parts = [layer.bias]
    else:
        parts = [_gain(layer), getattr(layer, "beta", None)]
    for part in parts:
        if part is not None:
            part.assign(part.numpy() / scale)


def _multiply(layer, scale):
    """Multiplies the weights of each input of a dense layer."""
    matrix = to_matrix(layer, layer.kernel.numpy()) * scale[:, None]
    layer.kernel.assign(from_matrix(layer, matrix))
