"""A model and its quantized copy, run side by side one call after the other."""

import collections

import keras
import tensorflow as tf

from tfcompress.core.behaviour import is_fake_quant
from tfcompress.core.graph import Graph
from tfcompress.core.keras_internals import all_layers
from tfcompress.core.recording import recorded
from tfcompress.core.samples import batches


def run_side_by_side(model, copy, samples, layers, visit):
    """Runs both models on all samples and shows some layers before their first call.

    Each call runs once on all batches, and what nothing reads any more is forgotten: the
    cost is that of one run, however many layers are visited. Only a layer that holds
    layers to visit runs again for each of them. Rounding of activations is left out of
    `model`, and done in `copy`.

    Args:
        model: a flat functional model.
        copy: the same with other weights.
        samples: an array, or `{input name: array}`.
        layers: those of `model` to show, also inside other layers. One that is not
            called, or only in a graph of its own, is not shown.
        visit: called with the layer of `model`, that of `copy` and the lists of their
            first inputs, one a batch; may change the weights of the copy's layer.
    """
    graph, wanted = Graph(model), {id(layer) for layer in layers}
    copies = {layer.name: layer for layer in copy.layers}
    parts = batches(model, samples)
    runs = [
        [
            {
                id(t): tf.convert_to_tensor(array)
                for t, array in zip(model.inputs, part, strict=True)
            }
            for part in parts
        ]
        for _ in range(2)
    ]
    readers = collections.Counter(id(t) for node in graph.nodes for t in node.inputs)
    for node in graph.nodes:
        if isinstance(node.operation, keras.layers.InputLayer):
            continue
        pair = node.operation, copies.get(node.operation.name, node.operation)
        if node.index == 0 and id(node.operation) in wanted:
            key = id(node.inputs[0])
            visit(*pair, *[[values[key] for values in run] for run in runs])
        elif node.index == 0 and isinstance(node.operation, keras.Layer):
            _visit_inside(node, pair, runs, wanted, visit)
        is_rounding = is_fake_quant(node.operation)
        for run, operation in zip(runs, pair, strict=True):
            for values in run:
                if is_rounding and run is runs[0]:
                    outputs = values[id(node.inputs[0])]
                else:
                    outputs = node.run(operation, values)
                flat = keras.tree.flatten(outputs)
                values.update(zip(map(id, node.outputs), flat, strict=True))
        _forget(node, readers, runs)


def _visit_inside(node, operations, runs, wanted, visit):
    """Shows what is wanted inside a layer, in the order it runs."""
    pairs = zip(*map(all_layers, operations), strict=True)
    inside = {id(layer): (layer, copy) for layer, copy in pairs if id(layer) in wanted}
    if not inside:
        return
    order, part = {}, runs[0][:1]
    layers = [layer for layer, _ in inside.values()]
    for layer, _ in _calls(node, operations[0], layers, part):
        order.setdefault(id(layer), inside[id(layer)])
    for pair in order.values():
        wanted.remove(id(pair[0]))
        fed = [
            [inputs for _, inputs in _calls(node, operation, [layer], run)]
            for operation, layer, run in zip(operations, pair, runs, strict=True)
        ]
        # Symbols of a graph, such as a loop that the layer compiles, have no values.
        if all(hasattr(tensor, "numpy") for run in fed for tensor in run):
            visit(*pair, *fed)


def _calls(node, operation, layers, run):
    """`(layer, first input)` of each call of some layers inside an operation."""
    calls = []

    def record(layer, inputs, *_):
        calls.append((layer, tf.cast(keras.tree.flatten(inputs)[0], tf.float32)))

    with recorded(layers, record):
        for values in run:
            node.run(operation, values)
    return calls


def _forget(node, readers, runs):
    readers.subtract(id(t) for t in node.inputs)
    for key in {id(t) for t in node.inputs if not readers[id(t)]}:
        for run in runs:
            for values in run:
                values.pop(key, None)
