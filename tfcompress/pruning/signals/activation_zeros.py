"""How often activations are zero."""

import tensorflow as tf

from tfcompress.pruning.signals.per_output import PerOutput


class ActivationZeros(PerOutput):
    """`P(a_k = 0)` of each output channel `k`, over samples and positions.

    Outputs are those of the layer itself: without an activation of its own, such as
    ReLU, hardly any is zero.

    Source: Hu et al., "Network Trimming" (2016), equation 1 (APoZ).

    Example:
        >>> tfc.signals.get("activation_zeros")
        ActivationZeros()
    """

    def update_call(self, call, values):
        """How many are zero, and how many there are."""
        count = tf.cast(tf.shape(values)[0] * tf.shape(values)[1], values.dtype)
        return tf.math.count_nonzero(values == 0, (0, 1), dtype=values.dtype), count

    def per_channel(self, zeros, count):
        """The share."""
        return zeros / count
