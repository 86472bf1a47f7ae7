"""Turns a gated network into one that runs only what it needs."""

import keras

from tfcompress.core.cloning import rebuild
from tfcompress.core.graph import Graph, flatten, rewire
from tfcompress.dynamic.skipping.gates import GatedAdd
from tfcompress.dynamic.skipping.skipped_block import SkippedBlock


def deployed(gated, name):
    """A functional copy with a `SkippedBlock` in place of each gated block.

    A ReLU after the addition becomes part of the block if x also comes from a ReLU: then
    it changes nothing where the block is skipped.

    Args:
        gated: a flat functional model with `GatedAdd`, whose output has `"outputs"`.
        name: name of the copy.
    """
    graph = Graph(gated)
    blocks, passed_by = {}, set()
    for node in graph.nodes:
        if not isinstance(node.operation, GatedAdd):
            continue
        shortcut, branch, _ = node.inputs
        after = graph.only_consumer(node)
        takes_relu = after and _is_relu(after) and _is_relu(graph.maker(shortcut))
        passed_by |= {after.key} if takes_relu else set()
        blocks[node.key] = _block(shortcut, branch, after if takes_relu else None)

    def call(key, operation, /, *args, **kwargs):
        if key in passed_by:
            return keras.tree.flatten((args, kwargs))[0]
        if key not in blocks:
            return operation(*args, **kwargs)
        shortcut, _, gate = args
        block = SkippedBlock(blocks[key], name=operation.name.removesuffix("_gated"))
        return block(shortcut, gate)

    outputs = gated.output["outputs"]
    return rewire(keras.Model(gated.input, outputs, name=name), call)


def _block(shortcut, branch, relu):
    """The model `x -> x + f(x)`, or its ReLU."""
    inner = rebuild(keras.Model(shortcut, branch))
    x = keras.Input(shortcut.shape[1:], dtype=shortcut.dtype)
    y = keras.layers.Add()([x, inner(x)])
    return flatten(keras.Model(x, keras.layers.ReLU()(y) if relu else y))


def _is_relu(node):
    operation = node.operation
    if isinstance(operation, keras.layers.Activation):
        return operation.activation is keras.activations.relu
    if isinstance(operation, keras.layers.ReLU):
        return operation.get_config().items() >= _PLAIN.items()
    return type(operation).__name__ == "Relu"


_PLAIN = {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}
