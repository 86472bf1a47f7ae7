"""Measures statistics of batch normalisation again."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.agreement import copy_model
from tfcompress.core.behaviour import batch_norms, is_batch_norm
from tfcompress.core.collect import each_batch
from tfcompress.core.data import Batches
from tfcompress.core.kinds import BuiltModel, checked


@checked
def recalibrate_batch_norm(model: BuiltModel(), data: Batches()) -> keras.Model:
    """Returns a copy of `model` whose batch norms have the statistics of `data`.

    Pruning or quantizing weights shifts the distributions after them, so that the moving
    averages of training no longer match. Over all batches `b` of equal size

    `μ = mean_b(μ_b)`, `σ² = mean_b(σ²_b + μ_b²) - μ²`

    which are exactly the statistics of all samples if the model has one batch norm; with
    several, each is measured after others that normalise batch by batch. All other layers
    run as at inference.

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
    for norm, (mean, variance) in zip(
        batch_norms(copy), statistics(copy, data), strict=True
    ):
        norm.moving_mean.assign(mean)
        norm.moving_variance.assign(variance)
    return copy


def statistics(model, data):
    """Mean and variance for each batch norm of a model, as in `recalibrate_batch_norm`.

    Args:
        model: a built Keras model, which is not changed.
        data: an iterable of batches, `x` or `(x, y)`.

    Returns:
        `[(mean, variance)]`, arrays with one number per channel.
    """
    norms = batch_norms(model)
    before = [(n.moving_mean.numpy(), n.moving_variance.numpy()) for n in norms]
    means = [np.zeros(norm.moving_mean.shape) for norm in norms]
    squares = [np.zeros(norm.moving_mean.shape) for norm in norms]
    count = 0
    with contextlib.ExitStack() as stack:
        for norm in norms:
            stack.enter_context(by_batch(norm))
        for x, _, _ in each_batch(data):
            model(x, training=False)
            for norm, mean, square in zip(norms, means, squares, strict=True):
                of_batch = norm.moving_mean.numpy()
                mean += of_batch
                square += norm.moving_variance.numpy() + np.square(of_batch)
            count += 1
    for norm, (mean, variance) in zip(norms, before, strict=True):
        norm.moving_mean.assign(mean)
        norm.moving_variance.assign(variance)
    return [
        (mean / count, square / count - np.square(mean / count))
        for mean, square in zip(means, squares, strict=True)
    ]


def before_batch_norm(graph):
    """Ids of the operations read only by a batch norm, which subtracts their means.

    Args:
        graph: a `tfcompress.core.graph.Graph`.
    """
    readers = [(node, graph.only_consumer(node)) for node in graph.nodes]
    return {
        id(node.operation)
        for node, reader in readers
        if reader is not None and is_batch_norm(reader.operation)
    }


def move_statistics(norm, exact_inputs, inputs, channels=slice(None)):
    """Shifts the statistics of a batch norm like its inputs.

    Afterwards, its outputs for inputs `z` of the compressed model have the mean and
    variance of the exact model's outputs for `x`:

        σ² + ε *= r,    μ <- E[z] - √r (E[x] - μ),    r = Var[z] / Var[x]

    So they stay those of all training data if nothing has changed. `σ²` stays at least 0.

    Args:
        norm: the batch norm of the compressed model.
        exact_inputs: list of tensors `x`, one per batch.
        inputs: list of tensors `z`, one per batch.
        channels: the channels of `x` that `z` still has.
    """
    exact = (a[channels] for a in _statistics(norm, exact_inputs))
    move(norm, exact, _statistics(norm, inputs))


def move(norm, exact, now):
    """`move_statistics` from statistics measured before.

    Args:
        norm: the batch norm of the compressed model.
        exact: `(E[x], Var[x])`, arrays with one number per channel.
        now: `(E[z], Var[z])`.
    """
    (exact_mean, exact_variance), (mean, variance) = exact, now
    varies = exact_variance > 0
    ratio = np.where(varies, variance, 1.0) / np.where(varies, exact_variance, 1.0)
    before = norm.moving_variance.numpy().astype(np.float64)
    after = np.maximum((before + norm.epsilon) * ratio - norm.epsilon, 0.0)
    scale = np.sqrt((after + norm.epsilon) / (before + norm.epsilon))
    norm.moving_variance.assign(after)
    norm.moving_mean.assign(mean - scale * (exact_mean - norm.moving_mean.numpy()))


def _statistics(norm, inputs):
    """Mean and variance of each channel over all batches, summed in float64."""
    rank = inputs[0].ndim
    axes = [axis for axis in range(rank) if axis != norm.axis % rank]
    moments = [tf.nn.moments(tf.cast(batch, tf.float32), axes) for batch in inputs]
    means, variances = np.float64(list(zip(*moments, strict=True)))
    sizes = [len(batch) for batch in inputs]
    mean = np.average(means, axis=0, weights=sizes)
    spread = variances + np.square(means - mean)
    return mean, np.average(spread, axis=0, weights=sizes)


@contextlib.contextmanager
def by_batch(norm):
    """A context in which a batch norm uses the statistics of the batch."""
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
