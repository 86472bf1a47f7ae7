"""Sums over weights that share a value."""

import tensorflow as tf


def sum_by_bin(values, bins, num_bins):
    """The sum of the values in each of `num_bins` bins.

    Args:
        values: floating-point tensor.
        bins: tensor of `int32` of the same shape, the bin of each value.
        num_bins: number of bins.

    >>> sum_by_bin(tf.constant([1.0, 2.0, 4.0]), tf.constant([0, 2, 0]), 3).numpy()
    array([5., 0., 2.], dtype=float32)
    """
    # A segment sum is ten times slower.
    sums = tf.raw_ops.Bincount(
        arr=tf.reshape(bins, [-1]),
        size=num_bins,
        weights=tf.cast(tf.reshape(values, [-1]), tf.float32),
    )
    return tf.cast(sums, values.dtype)
