"""Which layers read nothing but -1 and 1."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.macs import input_specs, recorded
from tfcompress.core.walk import leaves

# Stands for sizes that the model leaves open.
_SIZE = 32


def reads_signs(model):
    """Ids of the weighted layers whose input is -1 or 1 everywhere.

    The model runs once on a random sample, so it does not matter how the signs are made,
    and poolings and reshapes between them and the layer are seen through.

    Args:
        model: a built model.

    Returns:
        A set of `id(layer)`; of layers that are called several times, those for which
        each call agrees.

    >>> model = keras.Sequential([
    ...     keras.Input((8,)),
    ...     keras.layers.Dense(4, name="first"),
    ...     tfc.layers.QuantizedActivation("sign"),
    ...     keras.layers.Dense(2, name="second"),
    ... ])
    >>> [layer.name for layer in model.layers if id(layer) in reads_signs(model)]
    ['second']
    """
    found = {}

    def record(layer, inputs, outputs):
        first = keras.tree.flatten(inputs)[0]
        found.setdefault(id(layer), []).append(_are_signs(first))

    with recorded([layer for _, layer in leaves(model)], record):
        generator = np.random.default_rng(0)
        sample = keras.tree.map_structure(
            lambda spec: _random(spec, generator), input_specs(model)
        )
        model(sample, training=False)
    return {layer for layer, calls in found.items() if all(calls)}


def _are_signs(x):
    # Inside of a function that the model compiles there are no values to look at.
    return hasattr(x, "numpy") and bool(np.all(np.abs(x.numpy()) == 1))


def _random(spec, generator):
    shape = [size or _SIZE for size in spec.shape]
    if spec.dtype.is_floating:
        return tf.cast(generator.normal(size=shape), spec.dtype)
    return tf.cast(generator.integers(0, 2, shape), spec.dtype)
