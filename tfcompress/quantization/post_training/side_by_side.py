"""A model and its quantized copy, run side by side one call after the other."""

import collections

import keras
import tensorflow as tf

from tfcompress.core.behaviour import is_fake_quant
from tfcompress.core.graph import Graph
from tfcompress.core.samples import batches


def run_side_by_side(model, copy, samples, visit):
    """Runs both models on all samples and shows each layer before its first call.

    Each call runs once on all batches, and what nothing reads any more is forgotten: the
    cost is that of one run, however many layers are visited. Rounding of activations is
    left out of `model`, and done in `copy`.

    Args:
        model: a flat functional model.
        copy: the same with other weights.
        samples: an array, or `{input name: array}`.
        visit: called with the layer of `model`, that of `copy` and the lists of their
            first inputs, one a batch; may change the weights of the copy's layer.
    """
    graph = Graph(model)
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
        if node.index == 0 and node.inputs:
            key = id(node.inputs[0])
            visit(*pair, *[[values[key] for values in run] for run in runs])
        is_rounding = is_fake_quant(node.operation)
        for run, operation in zip(runs, pair, strict=True):
            for values in run:
                args, kwargs = node.arguments.fill_in(values)
                skip = is_rounding and run is runs[0]
                outputs = args[0] if skip else operation(*args, **kwargs)
                flat = keras.tree.flatten(outputs)
                values.update(zip(map(id, node.outputs), flat, strict=True))
        _forget(node, readers, runs)


def _forget(node, readers, runs):
    readers.subtract(id(t) for t in node.inputs)
    for key in {id(t) for t in node.inputs if not readers[id(t)]}:
        for run in runs:
            for values in run:
                values.pop(key, None)
