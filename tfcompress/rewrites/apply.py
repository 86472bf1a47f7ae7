"""Applies a `LayerRewrite` wherever it matches."""

import keras

from tfcompress.core.cloning import clone_layer
from tfcompress.core.graph import Graph, editable, rewire
from tfcompress.core.keras_internals import symbolic_calls
from tfcompress.core.kinds import BuiltModel, PlugIn, checked
from tfcompress.core.nouns import LayerRewrite
from tfcompress.core.recording import main_argument


@checked
def apply(model: BuiltModel(), rewrite: PlugIn(LayerRewrite)) -> keras.Model:
    """Returns a copy of `model` in which matching chains of layers are replaced.

    Args:
        model: a Sequential or Functional model; nested models are expanded.
        rewrite: a `LayerRewrite` object or name. A rewrite of several layers is offered
            chains of layers that feed only each other and are not shared.

    Raises:
        ValueError: if the model is subclassed.

    Example:
        >>> x = keras.Input((8, 8, 3))
        >>> y = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(x))
        >>> folded = apply(keras.Model(x, y), tfc.rewrites.FoldBatchNorm())
        >>> [type(layer).__name__ for layer in folded.layers]
        ['InputLayer', 'Conv2D']
    """
    return apply_to_flat(editable(model, "rewrite"), LayerRewrite.get(rewrite))


def apply_to_flat(flat, rewrite):
    """`apply` for a fresh flat model; the model itself if nothing matches."""
    replaced, dropped = {}, set()
    graph = Graph(flat)
    for node in graph.nodes:
        chain = _chain(graph, node, rewrite.length)
        names = [layer.name for layer in chain]
        if not chain or dropped.intersection(names) or not rewrite.matches(*chain):
            continue
        replaced[names[0]] = rewrite(*chain)
        dropped.update(names[1:])
    if not replaced:
        return flat

    def replace(layer):
        # New layers are called in `call`; here they only replace the old one.
        return layer if layer.name in replaced else clone_layer(layer)

    def call(key, operation, /, *args, **kwargs):
        if operation.name in dropped:
            return main_argument(operation, args, kwargs)
        if operation.name not in replaced:
            return operation(*args, **kwargs)
        # Other arguments are the old layer's own, such as a batch norm's mask.
        outputs = main_argument(operation, args, kwargs)
        for layer in replaced[operation.name]:
            outputs = layer(outputs)
        return outputs

    return rewire(flat, call, replace)


def _chain(graph, node, length):
    """`length` layers from `node` on, or an empty list if there are fewer."""
    nodes = [node]
    while len(nodes) < length and (following := graph.only_consumer(nodes[-1])):
        nodes.append(following)
    layers = [n.operation for n in nodes]
    shared = length > 1 and any(len(symbolic_calls(layer)) > 1 for layer in layers)
    usable = all(isinstance(layer, keras.Layer) for layer in layers)
    return layers if len(layers) == length and usable and not shared else []
