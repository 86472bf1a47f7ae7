"""Layers between integer sums and a sign, as one threshold per channel."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.behaviour import is_fake_quant, is_passive
from tfcompress.export.binary.signs import is_sign

L = keras.layers
_ELEMENTWISE = (L.BatchNormalization, L.ReLU, L.LeakyReLU, L.PReLU, L.ELU, L.Rescaling)
_ELEMENTWISE_FUNCTIONS = frozenset(
    """
    celu elu gelu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu linear
    log_sigmoid mish relu relu6 selu sigmoid silu soft_shrink softplus softsign sparse_plus
    sparse_sigmoid squareplus tanh tanh_shrink threshold
    """.split()
)
_ELEMENTWISE_OPS = frozenset(
    """
    Add Clip HardTanh LeakyRelu Maximum Minimum Multiply Negative Relu Relu6 Subtract Tanh
    TrueDivide
    """.split()
)
# Values evaluated together; a few floats are held for each.
_CHUNK = 2**21


class NoThreshold(ValueError):
    """The layers before a sign are not a step function of the sum."""


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """A channel is negative where `sum < threshold`.

    Attributes:
        threshold: int32 array `(channels,)`.
        falls: boolean array, the channels whose weights must be negated for this.
    """

    threshold: np.ndarray
    falls: np.ndarray


def path_to_sign(graph, node):
    """`(calls between a call and the one sign that they lead to, the sign)`.

    None if there is anything other than functions of single values, max pooling and, at
    the end, flattening.
    """
    path = []
    while following := graph.only_consumer(node):
        if is_sign(following):
            return path, following
        flat = bool(path) and any(is_flatten(n) for n in path)
        if not is_passive(following.operation) and (flat or not _is_allowed(following)):
            return None
        path.append(following)
        node = following
    return None


def is_flatten(node):
    """Whether a call flattens images into rows."""
    layer = node.operation
    if isinstance(layer, L.Flatten):
        return layer.data_format == "channels_last"
    return isinstance(layer, L.Reshape) and len(layer.target_shape) == 1


def is_max_pooling(node):
    """Whether a call pools images, channels last."""
    layer = node.operation
    return isinstance(layer, L.MaxPooling2D) and layer.data_format == "channels_last"


def has_elementwise_activation(layer):
    """Whether a layer's activation is a function of single values."""
    return getattr(layer.activation, "__name__", "") in _ELEMENTWISE_FUNCTIONS


def _is_allowed(node):
    if is_flatten(node) or is_max_pooling(node):
        return True
    layer = node.operation
    if isinstance(layer, L.Activation):
        return has_elementwise_activation(layer)
    one = len(node.inputs) == 1
    is_op = type(layer).__name__ in _ELEMENTWISE_OPS and one
    return isinstance(layer, _ELEMENTWISE) or is_op or is_fake_quant(layer)


def thresholds(start, path, num_channels, rank, reach):
    """Evaluates layers on all possible sums to find where the result becomes negative.

    `start` and the calls of `path` compute as in Keras, with its rounding. Max pooling
    between them passes the largest value, so the functions after it must not decrease.

    Args:
        start: the first function of the sums, `tensor -> tensor`.
        path: nodes, as returned by `path_to_sign`.
        num_channels: size of the last axis.
        rank: rank of the activations, usually 2 or 4.
        reach: sums are integers from `-reach` to `reach`.

    Raises:
        NoThreshold: if a channel is not negative exactly below or above some sum.
    """
    rows = max(_CHUNK // num_channels, 1)
    seen = _Seen(num_channels)
    for first in range(-reach, reach + 1, rows):
        sums = np.arange(first, min(first + rows, reach + 1), dtype=np.float32)
        shape = (len(sums), *[1] * (rank - 2), num_channels)
        values = tf.broadcast_to(tf.reshape(sums, (-1, *[1] * (rank - 1))), shape)
        values, pooled = start(values), []
        for node in path:
            if is_max_pooling(node):
                pooled.append(values)
            elif not is_flatten(node):
                values = _called(node, values)
            if values.shape != shape:
                raise NoThreshold(f"{node.operation.name} differs between pixels")
        flat = (len(sums), num_channels)
        negative = np.reshape(values.numpy() < 0, flat)
        seen.add(negative, [np.reshape(v, flat) for v in pooled])
    return seen.thresholds(-reach)


def _called(node, values):
    args, kwargs = node.arguments.fill_in({id(node.inputs[0]): values})
    try:
        return tf.convert_to_tensor(node.operation(*args, **kwargs))
    except (ValueError, tf.errors.InvalidArgumentError) as error:
        raise NoThreshold(f"{node.operation.name} differs between pixels") from error


class _Seen:
    """What is known of a step function for increasing sums, per channel."""

    def __init__(self, num_channels):
        self.num_negative = np.zeros(num_channels, np.int64)
        self.num_changes = np.zeros(num_channels, np.int64)
        self.first = self.last = None
        self.limits = []

    def add(self, negative, pooled):
        if self.first is None:
            self.first = self.last = negative[0]
            self.limits = [[-np.inf, np.inf] for _ in pooled]
        with_last = np.concatenate([self.last[None], negative])
        self.num_changes += (with_last[1:] != with_last[:-1]).sum(axis=0)
        self.num_negative += negative.sum(axis=0)
        self.last = negative[-1]
        for limits, values in zip(self.limits, pooled, strict=True):
            below = np.where(negative, values, -np.inf).max(axis=0)
            above = np.where(negative, np.inf, values).min(axis=0)
            limits[:] = np.maximum(limits[0], below), np.minimum(limits[1], above)

    def thresholds(self, lowest):
        if (self.num_changes > 1).any():
            raise NoThreshold(f"{_channels(self.num_changes > 1)} not monotone")
        for below, above in self.limits:
            if (below >= above).any():
                raise NoThreshold(
                    f"{_channels(below >= above)} decreasing after max pooling"
                )
        falls = self.last & ~self.first
        threshold = (lowest + self.num_negative).astype(np.int32)
        return Thresholds(threshold, falls)


def _channels(which):
    count = np.count_nonzero(which)
    return f"{count} of {len(which)} channels {'is' if count == 1 else 'are'}"
