"""Fraction of activations that are zero."""

import tensorflow as tf

from tfcompress.pruning.signals.per_output import PerOutput


class ActivationZeros(PerOutput):
    """`P(a_k = 0)` of each output channel `k`, over samples and positions.

    Outputs are those of the layer itself: without its own activation, such as ReLU,
    hardly any are zero.

    Source: Hu et al., "Network Trimming" (2016), equation 1 (APoZ).

    Example:
        >>> tfc.signals.get("activation_zeros")
        ActivationZeros()
    """

    def update_call(self, call, values):
        """The number of zeros, and the number of values."""
        count = tf.cast(tf.shape(values)[0] * tf.shape(values)[1], values.dtype)
        return tf.math.count_nonzero(values == 0, (0, 1), dtype=values.dtype), count

    def per_channel(self, zeros, count):
        """The fraction of zeros."""
        return zeros / count
