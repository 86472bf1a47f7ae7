"""Statistics of batch normalisation, measured again."""

import contextlib

import keras
import numpy as np

from tfcompress.core.agreement import copy_model
from tfcompress.core.collect import each_batch
from tfcompress.core.data import Batches
from tfcompress.core.keras_internals import all_layers
from tfcompress.core.kinds import BuiltModel, checked


@checked
def recalibrate_batch_norm(model: BuiltModel(), data: Batches()):
    """Returns a copy of `model` whose batch norms have the statistics of `data`.

    Cutting or quantizing weights moves the distributions behind them, and the moving
    averages of training no longer fit. Over all batches `b` of equal size

    `μ = mean_b(μ_b)`, `σ² = mean_b(σ²_b + μ_b²) - μ²`

    which are exactly the statistics of all samples if the model has one batch norm;
    with several, each is measured behind others that normalise batch by batch. All
    other layers run as in inference.

    Args:
        model: a built Keras model.
        data: an iterable of batches, `x` or `(x, y)`.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if `data` is empty.

    Source: Li et al., "EagleEye" (2020), section 3.3 (adaptive batch normalisation).

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization()])
        >>> batches = [np.array([[0.0], [2.0]]), np.array([[4.0], [6.0]])]
        >>> norm = tfc.rewrites.recalibrate_batch_norm(model, batches).layers[0]
        >>> np.asarray(norm.moving_mean), np.asarray(norm.moving_variance)
        (array([3.], dtype=float32), array([5.], dtype=float32))
    """
    copy = copy_model(model)
    norms = [
        layer
        for layer in all_layers(copy)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    means = [np.zeros(norm.moving_mean.shape) for norm in norms]
    squares = [np.zeros(norm.moving_mean.shape) for norm in norms]
    count = 0
    with contextlib.ExitStack() as stack:
        for norm in norms:
            stack.enter_context(_by_batch(norm))
        for x, _, _ in each_batch(data):
            copy(x, training=False)
            for norm, mean, square in zip(norms, means, squares, strict=True):
                of_batch = norm.moving_mean.numpy()
                mean += of_batch
                square += norm.moving_variance.numpy() + np.square(of_batch)
            count += 1
    for norm, mean, square in zip(norms, means, squares, strict=True):
        norm.moving_mean.assign(mean / count)
        norm.moving_variance.assign(square / count - np.square(mean / count))
    return copy


@contextlib.contextmanager
def _by_batch(norm):
    """Within it a batch norm takes the statistics of the batch for its own."""
    momentum, call = norm.momentum, norm.call

    def call_in_training(*args, **kwargs):
        return call(*args, **{**kwargs, "training": True})

    norm.momentum = 0.0
    object.__setattr__(norm, "call", call_in_training)
    try:
        yield
    finally:
        norm.momentum = momentum
        object.__delattr__(norm, "call")
