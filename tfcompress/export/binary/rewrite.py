"""Replaces layers of a model by binary operations that compute the same."""

import functools

import keras

from tfcompress.core.behaviour import has_ranges
from tfcompress.core.graph import Graph, as_graph, flatten_with_origins, rewire
from tfcompress.core.keras_internals import all_layers
from tfcompress.core.recording import main_argument
from tfcompress.export.binary.layers import BDense, BMaxPool2D
from tfcompress.export.binary.signs import is_sign, with_signs
from tfcompress.export.binary.sites import find_sites
from tfcompress.export.binary.summary import BinaryLayer
from tfcompress.export.binary.thresholds import (
    is_flatten,
    is_max_pooling,
)
from tfcompress.export.binary.weights import binary_weights
from tfcompress.quantization.quantize_activations import SIGN_RANGE
from tfcompress.rewrites.affine import batch_norm_scale_and_offset

L = keras.layers


def with_binary_operations(model, only_signs=False):
    """A copy of a plain model in which binary layers are binary operations.

    Only bits pass between two of them if the layers in between allow it: functions of
    single values, such as batch norm, become thresholds, and max pooling pools bits.

    Args:
        model: a plain Keras model in float32.
        only_signs: whether layers that read real values stay ordinary.

    Returns:
        `(model, layers)`: the copy, or the model itself if nothing was replaced, and a
        `BinaryLayer` for each layer whose kernel has two or three values.
    """
    if not any(map(binary_weights, all_layers(model))):
        return model, ()
    try:
        graph_model = as_graph(model, "write binary operations for")
    except ValueError:
        reason = "call() of the subclassed model cannot be followed"
        return model, without_binary_operations(model, reason)
    if graph_model is not model and isinstance(graph_model.output, (list, tuple)):
        # Files name such outputs by their positions, which graphs do not have.
        reason = "the subclassed model has several outputs"
        return model, without_binary_operations(model, reason)
    flat, origins = flatten_with_origins(graph_model)
    seen = {id(layer) for layer in origins.values()}
    hidden = [layer for layer in all_layers(graph_model) if id(layer) not in seen]
    flat = with_signs(flat)
    graph = Graph(flat)
    sites, ordinary = find_sites(graph, only_signs)
    layers = (
        *ordinary,
        *_ordinary(hidden, "it is inside another layer"),
        *(site.described() for site in sites),
    )
    return (_rewritten(flat, graph, sites) if sites else model), layers


def without_binary_operations(model, reason):
    """A `BinaryLayer` for each layer that could be binary but stays ordinary."""
    return _ordinary(all_layers(model), reason)


def _ordinary(layers, reason):
    found = [(layer, binary_weights(layer)) for layer in layers]
    return tuple(
        BinaryLayer(layer.name, None, weights.planes, reason=reason)
        for layer, weights in found
        if weights
    )


def _rewritten(flat, graph, sites):
    calls, unsigned = {}, {}

    def keep(inputs):
        return inputs

    is_ranged = has_ranges(flat)

    def sign(layer, inputs):
        outputs = layer(inputs)
        if is_ranged:
            outputs = keras.quantizers.fake_quant_with_min_max_vars(
                outputs, *SIGN_RANGE
            )
        # Kept alive, so that no other tensor gets the same id.
        unsigned[id(outputs)] = outputs, inputs
        return outputs

    def before_sign(inputs):
        return unsigned[id(inputs)][1] if id(inputs) in unsigned else inputs

    for node in graph.nodes:
        if is_sign(node):
            calls[node.key] = functools.partial(sign, node.operation)
    for site in sites:
        if site.thresholds:
            layer, activation, rest = _with_bits(site), None, site.path
            calls[site.next_sign.key] = keep
        else:
            layer, activation, rest = _with_values(graph, site)
        calls |= {node.key: _on_bits(node) or keep for node in rest}
        calls[site.node.key] = functools.partial(
            _call_site, layer, activation, before_sign
        )

    def call(key, operation, /, *args, **kwargs):
        if key in calls:
            return calls[key](main_argument(operation, args, kwargs))
        return operation(*args, **kwargs)

    return rewire(flat, call)


def _call_site(layer, activation, before_sign, inputs):
    outputs = layer(before_sign(inputs))
    return activation(outputs) if activation else outputs


def _on_bits(node):
    """The layer that does for bits what a call does for values; None for no effect."""
    layer = node.operation
    if is_flatten(node):
        return L.Flatten(name=layer.name)
    if is_max_pooling(node):
        return BMaxPool2D(
            layer.pool_size, layer.strides, layer.padding, name=layer.name
        )
    return None


def _with_bits(site):
    layer = _made(site, site.layer.name, writes_bits=True)
    signs = site.weights.reversed(site.thresholds.falls)
    layer.assign(_grouped(signs, layer), site.thresholds.threshold)
    return layer


def _with_values(graph, site):
    """The layer, its activation or None, and the calls that it also replaces."""
    multiplier, bias, folded = site.weights.scale, site.bias, []
    name, activation = site.layer.name, None
    following = graph.only_consumer(site.node)
    # The operation applies the ReLU to the sums, before it adds anything.
    can_clip = not bias.any()
    relu = can_clip and site.layer.activation is keras.activations.relu
    if not relu and site.layer.activation is not keras.activations.linear:
        activation, following = L.Activation(site.layer.activation, name=name), None
        name = f"{name}_sums"
    elif not relu and can_clip and following is not None and _is_relu(following):
        relu, name, folded = True, following.operation.name, [following]
        following = graph.only_consumer(following)
    if following is not None and _is_batch_norm(graph, following):
        gain, offset = batch_norm_scale_and_offset(following.operation)
        multiplier, bias = multiplier * gain, bias * gain + offset
        name, folded = following.operation.name, [*folded, following]
    layer = _made(site, name, relu=relu)
    layer.assign(_grouped(site.weights.signs, layer), multiplier, bias)
    return layer, activation, folded


def _is_relu(node):
    layer = node.operation
    if isinstance(layer, L.Activation):
        return layer.activation is keras.activations.relu
    if not isinstance(layer, L.ReLU):
        return False
    return (layer.max_value, layer.negative_slope, layer.threshold) == (None, 0, 0)


def _is_batch_norm(graph, node):
    norm = node.operation
    if not isinstance(norm, L.BatchNormalization):
        return False
    is_shared = sum(other.operation is norm for other in graph.nodes) > 1
    return norm.axis in (-1, len(node.inputs[0].shape) - 1) and not is_shared


def _made(site, name, **outputs):
    """The built layer of a site, without weights."""
    layer, channels = site.layer, site.weights.signs.shape[-1]
    if isinstance(layer, L.Dense):
        groups = channels // site.writer.num_outputs if site.writer else 1
        settings = {"groups": groups}
        channels //= groups
    else:
        names = ("kernel_size", "strides", "dilation_rate", "padding")
        settings = {n: getattr(layer, n) for n in names}
    made = site.operation(
        site.num_outputs,
        channels,
        site.weights.planes,
        site.binarize,
        name=name,
        **settings,
        **outputs,
    )
    made.build()
    return made


def _grouped(signs, layer):
    """Signs of a dense layer, grouped by pixel of the image that it reads."""
    if isinstance(layer, BDense):
        return signs.reshape(len(signs), layer.groups, layer.channels)
    return signs
