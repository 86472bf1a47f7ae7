"""Mean magnitude of activations."""

import tensorflow as tf

from tfcompress.pruning.signals.per_output import PerOutput


class ActivationMean(PerOutput):
    """`E[|a_k|]` of each output channel `k`, over samples and positions.

    Source: Molchanov et al., "Pruning Convolutional Neural Networks for Resource
    Efficient Inference" (2017), section 2.2.

    Example:
        >>> tfc.signals.get("activation_mean")
        ActivationMean()
    """

    def update_call(self, call, values):
        """The sum of the magnitudes, and their number."""
        count = tf.cast(tf.shape(values)[0] * tf.shape(values)[1], values.dtype)
        return tf.reduce_sum(tf.abs(values), (0, 1)), count

    def per_channel(self, total, count):
        """The mean."""
        return total / count
