"""Standard deviation of activations."""

import numpy as np
import tensorflow as tf

from tfcompress.pruning.signals.per_output import PerOutput


class ActivationDeviation(PerOutput):
    """`sqrt(E[a_k²] - E[a_k]²)` of each output channel `k`, over samples and positions.

    Source: Molchanov et al., "Pruning Convolutional Neural Networks for Resource
    Efficient Inference" (2017), section 2.2.

    Example:
        >>> tfc.signals.get("activation_deviation")
        ActivationDeviation()
    """

    def update_call(self, call, values):
        """The sums of the values and of their squares, and their number."""
        # In float64, since the difference of the two may be small compared with them.
        exact = tf.cast(values, tf.float64)
        count = tf.cast(tf.shape(values)[0] * tf.shape(values)[1], tf.float64)
        return tf.reduce_sum(exact, (0, 1)), tf.reduce_sum(exact**2, (0, 1)), count

    def per_channel(self, total, squares, count):
        """The standard deviation."""
        return np.sqrt(np.maximum(squares / count - np.square(total / count), 0.0))
