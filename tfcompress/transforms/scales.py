"""Axes, shapes and means of weights that share a scale."""

import tensorflow as tf


def scale_axes(layout, per_channel):
    """The axes over which a scale is shared: all but the outputs, or all.

    >>> scale_axes(tfc.core.layout.Layout((3, 3, 4, 8), (3,)), per_channel=True)
    (0, 1, 2)
    """
    return layout.reduction_axes if per_channel else tuple(range(len(layout.shape)))


def scale_shape(layout, axes):
    """The shape of scales shared over `axes`, which broadcasts to the weight.

    >>> scale_shape(tfc.core.layout.Layout((3, 3, 4, 8), (3,)), axes=(0, 1, 2))
    (1, 1, 1, 8)
    """
    return tuple(1 if a in axes else size for a, size in enumerate(layout.shape))


def mean_magnitude(weight, axes):
    """The mean of `|w|` over the weights that are not zero; 0 where all are.

    Pruned weights say nothing about the size of the others.

    >>> mean_magnitude(np.array([[1.0, 0.0], [-3.0, 0.0]]), axes=(0,)).numpy()
    array([[2., 0.]])
    """
    magnitude = tf.abs(weight)
    count = tf.math.count_nonzero(magnitude, axes, keepdims=True, dtype=magnitude.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(magnitude, axes, keepdims=True), count)
