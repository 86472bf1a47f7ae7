"""Finds the signs of a graph and moves each to where it is read.

A sign is -1 or 1 everywhere, with 1 for zero, as binary operations define it: that of
`tfc.layers.QuantizedActivation`, and `where(x >= 0, 1, -1)`, into which `tfc.strip` turns
it. `keras.ops.sign` does not count, since it is 0 for zero.
"""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.behaviour import PASSIVE, is_fake_quant
from tfcompress.core.compressed import untransformed
from tfcompress.core.graph import (
    Graph,
    as_graph_with_origins,
    flatten_with_origins,
    rewire,
)
from tfcompress.quantization.activations.sign import Sign
from tfcompress.quantization.layers.quantized_activation import QuantizedActivation

L = keras.layers
# These give the same result whether the sign is taken before or after them.
_COMMUTES = (*PASSIVE, L.MaxPooling2D, L.GlobalMaxPooling2D, L.Flatten, L.Reshape)
_TOLERANCE = 1 / 64


def is_sign(node):
    """Whether a call is a sign, in a model from `with_signs`."""
    layer = node.operation
    if not isinstance(layer, QuantizedActivation):
        return False
    # A ternary sign is also a `Sign`, with other values.
    return type(layer.quantizer).forward is Sign.forward


def reads_signs(model):
    """Ids of the layers that read only signs in all their calls.

    It finds the same as `tfc.export_tflite`: signs are recognised through pooling,
    flattening and layers that do nothing at inference. A subclassed model whose graph
    cannot be followed has no such layers.

    Args:
        model: a built model, plain or compressed.

    Returns:
        A set of `id(layer)`; for compressed layers, of the layers inside.

    >>> model = keras.Sequential([
    ...     keras.Input((8,)),
    ...     keras.layers.Dense(4, name="first"),
    ...     tfc.layers.QuantizedActivation("sign"),
    ...     keras.layers.Dense(2, name="second"),
    ... ])
    >>> [layer.name for layer in model.layers if id(layer) in reads_signs(model)]
    ['second']
    """
    try:
        # Otherwise, parts of models with their own training would use transformed weights.
        with untransformed(model):
            graph_model, copied = as_graph_with_origins(
                getattr(model, "inner", model), "find the signs of"
            )
    except ValueError:
        return set()
    flat, origins = flatten_with_origins(graph_model)
    graph, found = Graph(with_signs(flat)), {}
    for node in graph.nodes:
        if node.inputs and node.operation.name in origins:
            layer = origins[node.operation.name]
            layer = copied.get(id(layer), layer)
            calls = found.setdefault(id(getattr(layer, "inner", layer)), [])
            calls.append(holds_signs(graph, node.inputs[0]))
    return {layer for layer, calls in found.items() if all(calls)}


def holds_signs(graph, tensor):
    """Whether a tensor holds only signs.

    Args:
        graph: `Graph` of a model from `with_signs`.
        tensor: of the model.
    """
    node = graph.maker(tensor)
    if node is None or is_sign(node):
        return node is not None
    passes = isinstance(node.operation, L.Concatenate) or _commutes(node)
    return passes and all(holds_signs(graph, t) for t in node.inputs)


def with_signs(flat):
    """A copy of a flat plain model in which each sign is one layer.

    `tfc.strip` turns a sign into `where(x >= 0, ones_like(x), -ones_like(x))`. The layer
    is placed as late as possible, after pooling and flattening.
    """
    graph = Graph(flat)
    sources = _sources(graph)
    if not sources:
        return flat
    inputs, signs, last, dropped = {}, {}, {}, set()
    for where, compare in sources.items():
        layer = QuantizedActivation("sign", name=where.operation.name)
        path = _commuting_path(graph, where)
        dropped |= {node.key for node in path if is_fake_quant(node.operation)}
        signs[where.key] = compare.key
        last[path[-1].key] = layer

    def call(key, operation, /, *args, **kwargs):
        if key in signs.values():
            inputs[key] = args[0]
        if key in signs:
            outputs = inputs[signs[key]]
        elif key in dropped:
            outputs = args[0]
        else:
            outputs = operation(*args, **kwargs)
        return last[key](outputs) if key in last else outputs

    return rewire(flat, call)


def _sources(graph):
    """`{node of a sign: node that compares with 0}`."""

    def maker(value):
        node = graph.maker(value)
        # Constants may be followed by ranges too.
        return maker(node.inputs[0]) if node and is_fake_quant(node.operation) else node

    def constant(value):
        """The value of a constant tensor, 1 or -1; a number is returned as it is."""
        node = maker(value)
        if node is None:
            return value if isinstance(value, (int, float)) else None
        if _kind(node) == "OnesLike":
            return 1
        if _kind(node) == "Negative" and constant(node.inputs[0]) == 1:
            return -1
        return None

    found = {}
    for node in graph.nodes:
        if _kind(node) != "Where":
            continue
        condition, *values = _values(node)
        compare = maker(condition)
        if compare is None or _kind(compare) != "GreaterEqual":
            continue
        if constant(_values(compare)[1]) == 0 and list(map(constant, values)) == [
            1,
            -1,
        ]:
            found[node] = compare
    return found


def _values(node):
    return [*node.arguments.args, *node.arguments.kwargs.values()]


def _kind(node):
    return type(node.operation).__name__


def _commuting_path(graph, sign):
    """The sign, and the calls that follow up to its new place."""
    path = [sign]
    while following := graph.only_consumer(path[-1]):
        leaves_model = any(id(t) in graph.outputs for t in following.outputs)
        if leaves_model or not _commutes(following):
            break
        path.append(following)
    return path


def _commutes(node):
    if is_fake_quant(node.operation):
        return _keeps_signs(node)
    return isinstance(node.operation, _COMMUTES)


def _keeps_signs(fake_quant):
    signs = tf.constant([-1.0, 1.0])
    args, kwargs = fake_quant.arguments.fill_in({id(fake_quant.inputs[0]): signs})
    rounded = fake_quant.operation(*args, **kwargs)
    return np.abs(rounded - signs).max() <= _TOLERANCE
