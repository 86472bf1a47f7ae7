"""Which layers read nothing but -1 and 1."""

import keras
import numpy as np

from tfcompress.core.recording import recorded
from tfcompress.core.samples import random_inputs
from tfcompress.core.walk import leaves


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

    def record(layer, inputs, outputs, args, kwargs):
        first = keras.tree.flatten(inputs)[0]
        found.setdefault(id(layer), []).append(_are_signs(first))

    with recorded([layer for _, layer in leaves(model)], record):
        model(random_inputs(model), training=False)
    return {layer for layer, calls in found.items() if all(calls)}


def _are_signs(x):
    # Inside of a function that the model compiles there are no values to look at.
    return hasattr(x, "numpy") and bool(np.all(np.abs(x.numpy()) == 1))
