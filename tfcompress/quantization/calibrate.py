"""Activation ranges set from data, without training."""

import keras
import numpy as np

from tfcompress.core.graph import Graph
from tfcompress.core.samples import batches
from tfcompress.quantization.layers.fake_quant import FakeQuant
from tfcompress.quantization.ranges import NUM_BINS


def calibrate(model, samples, setting):
    """Sets every range of `model` that is not fixed; changes the model.

    Two passes over the float model: one for the smallest and the largest values, one
    for histograms of 2048 bins between them.

    Args:
        model: a functional model whose `FakeQuant` layers have seen nothing yet.
        samples: an array, or `{input name: array}`.
        setting: a `tfcompress.quantization.ranges.Range`.
    """
    seen = _tensors_before_ranges(model)
    if not seen:
        return
    layers = [layer for layer, _ in seen]
    observed = keras.Model(model.inputs, [tensors for _, tensors in seen])
    parts = batches(model, samples)

    def each_batch():
        for part in parts:
            tensors = observed(part, training=False)
            yield [[t.numpy().ravel() for t in group] for group in tensors]

    limits = [(0.0, 0.0)] * len(layers)
    for groups in each_batch():
        limits = [
            (min(low, *map(np.min, g)), max(high, *map(np.max, g)))
            for (low, high), g in zip(limits, groups, strict=True)
        ]
    counts = [np.zeros(NUM_BINS) for _ in layers]
    for groups in each_batch():
        for count, group, limit in zip(counts, groups, limits, strict=True):
            for values in group:
                count += _histogram(values, *limit)
    for layer, count, (low, high) in zip(layers, counts, limits, strict=True):
        edges = np.linspace(low, high, NUM_BINS + 1)
        layer.set_range(*setting(count, edges, layer.bits))


def _tensors_before_ranges(model):
    """`[(layer, tensors that it rounds)]`."""
    found = {}
    for node in Graph(model).nodes:
        if isinstance(node.operation, FakeQuant) and not node.operation.is_fixed:
            found.setdefault(node.operation, []).extend(node.inputs)
    return list(found.items())


def _histogram(values, low, high):
    place = (values.astype(np.float64) - low) * (NUM_BINS / max(high - low, 1e-30))
    return np.bincount(np.clip(place, 0, NUM_BINS - 1).astype(int), minlength=NUM_BINS)
