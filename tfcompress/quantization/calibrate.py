"""Activation ranges set from data, without training."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.collect import observe
from tfcompress.core.samples import checked_batches
from tfcompress.quantization.layers.fake_quant import FakeQuant, bounded
from tfcompress.quantization.ranges import NUM_BINS


def calibrate(model, samples, setting):
    """Sets every range of `model` that is not fixed; changes the model.

    It takes two passes over the float model: one for the smallest and largest values, one
    for histograms with 2048 bins between them.

    Args:
        model: a functional model whose `FakeQuant` layers have not seen any data.
        samples: an array, or `{input name: array}`.
        setting: a `tfcompress.quantization.ranges.Range`.
    """
    layers = [
        layer
        for layer in model.layers
        if isinstance(layer, FakeQuant) and not layer.is_fixed
    ]
    data = [(part,) for part in checked_batches(model, samples)]
    limits = {id(layer): (0.0, 0.0) for layer in layers}
    counts = {id(layer): np.zeros(NUM_BINS) for layer in layers}

    def widen(layer, inputs, *_):
        low, high = limits[id(layer)]
        values = bounded(tf.cast(inputs, tf.float32)).numpy()
        limits[id(layer)] = min(low, values.min()), max(high, values.max())

    def count(layer, inputs, *_):
        values = bounded(tf.cast(inputs, tf.float32)).numpy().ravel()
        counts[id(layer)] += _histogram(values, *limits[id(layer)])

    # Samples come as lists, whatever the structure of the inputs.
    listed = keras.Model(model.inputs, model.outputs)
    for record in (widen, count):
        observe(listed, layers, data, record)
    for layer in layers:
        edges = np.linspace(*limits[id(layer)], NUM_BINS + 1)
        layer.set_range(*setting(counts[id(layer)], edges, layer.bits))


def _histogram(values, low, high):
    place = (values.astype(np.float64) - low) * (NUM_BINS / max(high - low, 1e-30))
    return np.bincount(np.clip(place, 0, NUM_BINS - 1).astype(int), minlength=NUM_BINS)
