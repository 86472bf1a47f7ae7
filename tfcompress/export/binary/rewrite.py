"""Puts binary operations into a model, in place of the layers that compute the same."""

import functools

import keras
import numpy as np

from tfcompress.core.graph import Graph, as_graph, flatten, rewire
from tfcompress.export.binary.layers import BConv2D, BDense, BMaxPool2D
from tfcompress.export.binary.signs import (
    holds_signs,
    is_fake_quant,
    is_sign,
    with_signs,
)
from tfcompress.export.binary.summary import BinaryLayer
from tfcompress.export.binary.thresholds import (
    NoThreshold,
    has_elementwise_activation,
    is_flatten,
    is_max_pooling,
    path_to_sign,
    thresholds,
)
from tfcompress.export.binary.weights import binary_weights
from tfcompress.rewrites.affine import batch_norm_scale_and_offset
from tfcompress.rewrites.quantize_activations import SIGN_RANGE

L = keras.layers


def with_binary_operations(model):
    """A copy of a plain model in which binary layers are binary operations.

    Between two of them stand bits only, if what is between them allows it: functions of
    single values, such as batch norm, become thresholds, and max pooling pools bits.

    Args:
        model: a plain Keras model in float32.

    Returns:
        `(model, layers)`: the model itself if nothing was replaced, and a `BinaryLayer`
        for each layer whose kernel has two or three values.
    """
    if not any(map(binary_weights, model._flatten_layers())):
        return model, ()
    try:
        graph_model = as_graph(model, "write binary operations for")
    except ValueError:
        reason = "call() of the subclassed model cannot be followed"
        return model, without_binary_operations(model, reason)
    flat = with_signs(flatten(graph_model))
    graph = Graph(flat)
    sites, ordinary = _sites(graph)
    layers = (*ordinary, *(site.described() for site in sites))
    return (_rewritten(flat, graph, sites) if sites else model), layers


def without_binary_operations(model, reason):
    """A `BinaryLayer` for each layer that could be one, but stays ordinary."""
    found = [(layer, binary_weights(layer)) for layer in model._flatten_layers()]
    return tuple(
        BinaryLayer(layer.name, None, weights.planes, reason=reason)
        for layer, weights in found
        if weights
    )


class _Site:
    """A call of a layer that becomes a binary operation."""

    def __init__(self, node, weights):
        self.node = node
        self.weights = weights
        self.layer = node.operation
        # Whether it reads signs, and the site that writes their bits.
        self.binarize, self.writer = False, None
        # What is between it and the sign behind it, if it writes bits.
        self.path = self.next_sign = self.thresholds = None
        self.reason = None

    @property
    def num_outputs(self):
        return len(self.weights.scale)

    @property
    def bias(self):
        if not self.layer.use_bias:
            return np.zeros(self.num_outputs, np.float32)
        return self.layer.bias.numpy()

    @property
    def operation(self):
        return BDense if isinstance(self.layer, L.Dense) else BConv2D

    def described(self):
        signs = "signs" if self.binarize else "values"
        return BinaryLayer(
            self.layer.name,
            self.operation.operation_name,
            self.weights.planes,
            "bits" if self.writer else signs,
            "bits" if self.thresholds else "values",
            self.reason,
        )


def _sites(graph):
    """`(sites, BinaryLayers that stay ordinary)`."""
    makers = {id(t): node for node in graph.nodes for t in node.outputs}
    sites, ordinary = [], {}
    for node in graph.nodes:
        weights = binary_weights(node.operation)
        if weights is None:
            continue
        reason = _why_ordinary(graph, node, weights)
        if reason:
            name = node.operation.name
            ordinary[name] = BinaryLayer(name, None, weights.planes, reason=reason)
            continue
        site = _Site(node, weights)
        site.binarize = holds_signs(makers, node.inputs[0])
        sites.append(site)
    by_key = {site.node.key: site for site in sites}
    for site in sites:
        _join_with_readers(graph, site, by_key)
    return sites, tuple(ordinary.values())


def _why_ordinary(graph, node, weights):
    layer = node.operation
    if type(layer) not in (L.Conv2D, L.Dense):
        return f"there is no binary operation for {type(layer).__name__}"
    if isinstance(layer, L.Conv2D) and layer.groups > 1:
        return "its channels are in groups"
    if isinstance(layer, L.Conv2D) and layer.data_format != "channels_last":
        return "its channels come first"
    if sum(other.operation is layer for other in graph.nodes) > 1:
        return "it is called several times"
    if weights.packed_bytes >= 4 * weights.signs.size:
        return "its bits, padded to whole words, would take more room"
    return None


def _join_with_readers(graph, site, sites):
    """Lets a site write bits if all that read its signs are sites."""
    found = path_to_sign(graph, site.node) if site.binarize else None
    if found is None:
        return
    path, sign = found
    readers = [sites.get(node.key) for node in graph.consumers(sign)]
    leaves_model = any(id(t) in graph.outputs for t in sign.outputs)
    if leaves_model or not all(readers):
        site.reason = "not only binary layers read its signs"
        return
    if not has_elementwise_activation(site.layer):
        return
    try:
        site.thresholds = thresholds(
            functools.partial(_affine, site),
            path,
            site.num_outputs,
            len(site.node.outputs[0].shape),
            site.weights.fan_in,
        )
    except NoThreshold as error:
        site.reason = str(error)
        return
    site.path, site.next_sign = path, sign
    for reader in readers:
        reader.writer = site


def _affine(site, sums):
    """What a layer makes of its sums."""
    return site.layer.activation(site.weights.scale * sums + site.bias)


def _rewritten(flat, graph, sites):
    calls, unsigned = {}, {}

    def keep(inputs):
        return inputs

    has_ranges = any(map(is_fake_quant, graph.nodes))

    def sign(layer, inputs):
        outputs = layer(inputs)
        if has_ranges:
            outputs = keras.quantizers.fake_quant_with_min_max_vars(
                outputs, *SIGN_RANGE
            )
        # Held, so that no other tensor gets the same id.
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
            return calls[key](args[0])
        return operation(*args, **kwargs)

    return rewire(flat, call)


def _call_site(layer, activation, before_sign, inputs):
    outputs = layer(before_sign(inputs))
    return activation(outputs) if activation else outputs


def _on_bits(node):
    """The layer that does to bits what a call does to values; None if it does nothing."""
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
    """The layer, its activation or None, and the calls that it stands for too."""
    multiplier, bias, folded = site.weights.scale, site.bias, []
    name, activation = site.layer.name, None
    following = graph.only_consumer(site.node)
    if site.layer.activation is not keras.activations.linear:
        activation = L.Activation(site.layer.activation, name=name)
        name = f"{name}_sums"
    elif following is not None and _is_batch_norm(graph, following):
        gain, offset = batch_norm_scale_and_offset(following.operation)
        multiplier, bias = multiplier * gain, bias * gain + offset
        name, folded = following.operation.name, [following]
    layer = _made(site, name)
    layer.assign(_grouped(site.weights.signs, layer), multiplier, bias)
    return layer, activation, folded


def _is_batch_norm(graph, node):
    norm = node.operation
    if not isinstance(norm, L.BatchNormalization):
        return False
    is_shared = sum(other.operation is norm for other in graph.nodes) > 1
    return norm.axis in (-1, len(node.inputs[0].shape) - 1) and not is_shared


def _made(site, name, writes_bits=False):
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
        writes_bits,
        name=name,
        **settings,
    )
    made.build()
    return made


def _grouped(signs, layer):
    """Signs of a dense layer by pixel of the image that it reads."""
    if isinstance(layer, BDense):
        return signs.reshape(len(signs), layer.groups, layer.channels)
    return signs
