"""Runs a model and its compressed copy side by side, call by call."""

import collections

import keras
import tensorflow as tf

from tfcompress.core.behaviour import is_fake_quant
from tfcompress.core.graph import Graph
from tfcompress.core.keras_internals import all_layers
from tfcompress.core.recording import recorded
from tfcompress.core.samples import checked_batches

# Tensors of all batches stay until they are read: small batches would save no memory.
_BATCH_SIZE = 256


def batches_of(model, samples):
    """Samples as `run_on_batches` takes them.

    Args:
        model: a flat functional model.
        samples: an array, or `{input name: array}`.

    Raises:
        ValueError: if samples do not fit the model, or it returns NaN for some.
    """
    return checked_batches(model, samples, _BATCH_SIZE)


def run_side_by_side(model, copy, samples, layers, visit):
    """`run_on_batches` of samples that were not checked yet: see `batches_of`."""
    run_on_batches(model, copy, batches_of(model, samples), layers, visit)


def run_on_batches(model, copy, batches, layers, visit):
    """Runs both models on all samples and shows some layers before their first call.

    Each call runs once on all batches, and tensors are freed once nothing reads them any
    more: the cost is that of one run up to the last of the layers, however many are
    visited. Only a layer that contains layers to visit runs again for each of them.
    Activations are not rounded in `model`, but are in `copy`.

    Args:
        model: a flat functional model.
        copy: the same with other weights, or fewer channels.
        batches: from `batches_of`.
        layers: the layers of `model` to show, also inside other layers. A layer that is
            not called, or only in a separate graph, is not shown.
        visit: called with the layer of `model`, that of `copy` and the lists of their
            first inputs, one per batch; may change the weights of the copy's layer.
    """
    graphs, wanted = [Graph(model), Graph(copy)], {id(layer) for layer in layers}
    runs = [
        [
            {
                id(t): tf.convert_to_tensor(array)
                for t, array in zip(each.inputs, part, strict=True)
            }
            for part in batches
        ]
        for each in (model, copy)
    ]
    readers = [
        collections.Counter(id(t) for node in graph.nodes for t in node.inputs)
        for graph in graphs
    ]
    for nodes in zip(*(graph.nodes for graph in graphs), strict=True):
        _check_same_call(*nodes)
        node, operation = nodes[0], nodes[0].operation
        if isinstance(operation, keras.layers.InputLayer):
            continue
        if node.index == 0 and id(operation) in wanted:
            fed = [
                [values[id(each.inputs[0])] for values in run]
                for each, run in zip(nodes, runs, strict=True)
            ]
            wanted.remove(id(operation))
            visit(operation, nodes[1].operation, *fed)
        elif node.index == 0 and isinstance(operation, keras.Layer):
            _visit_inside(nodes, runs, wanted, visit)
        if not wanted:
            continue
        is_rounding = is_fake_quant(operation)
        for each, run in zip(nodes, runs, strict=True):
            for values in run:
                if is_rounding and run is runs[0]:
                    outputs = values[id(each.inputs[0])]
                else:
                    outputs = each.run(each.operation, values)
                flat = keras.tree.flatten(outputs)
                values.update(zip(map(id, each.outputs), flat, strict=True))
        for each, run, counts in zip(nodes, runs, readers, strict=True):
            _forget(each, counts, run)


def _check_same_call(node, other):
    """Raises unless two graphs have the same call at the same position."""
    calls = [
        (type(n.operation).__name__, n.operation.name, n.index) for n in (node, other)
    ]
    is_layer = isinstance(node.operation, keras.Layer)
    # Keras operations get different names in each graph.
    if calls[0] != calls[1] and (is_layer or calls[0][::2] != calls[1][::2]):
        raise ValueError(
            f"Expected two models with the same calls in the same order, got {calls[0]} in "
            f"one and {calls[1]} in the other."
        )


def _visit_inside(nodes, runs, wanted, visit):
    """Shows the requested layers inside a layer, in execution order."""
    pairs = zip(*(all_layers(node.operation) for node in nodes), strict=True)
    inside = {id(layer): (layer, copy) for layer, copy in pairs if id(layer) in wanted}
    if not inside:
        return
    order, part = {}, runs[0][:1]
    layers = [layer for layer, _ in inside.values()]
    for layer, _ in _calls(nodes[0], layers, part):
        order.setdefault(id(layer), inside[id(layer)])
    for pair in order.values():
        wanted.remove(id(pair[0]))
        fed = [
            [inputs for _, inputs in _calls(node, [layer], run)]
            for node, layer, run in zip(nodes, pair, runs, strict=True)
        ]
        # Symbolic tensors, such as those in a loop that the layer compiles, have no values.
        if all(hasattr(tensor, "numpy") for run in fed for tensor in run):
            visit(*pair, *fed)


def _calls(node, layers, run):
    """`(layer, first input)` of each call of some layers inside an operation."""
    calls = []

    def record(layer, inputs, *_):
        calls.append((layer, tf.cast(keras.tree.flatten(inputs)[0], tf.float32)))

    with recorded(layers, record):
        for values in run:
            node.run(node.operation, values)
    return calls


def _forget(node, readers, run):
    readers.subtract(id(t) for t in node.inputs)
    for key in {id(t) for t in node.inputs if not readers[id(t)]}:
        for values in run:
            values.pop(key, None)
