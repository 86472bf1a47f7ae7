"""From the loss of each prediction to the number that Keras sums and shows."""

import keras
import tensorflow as tf
from keras import ops


class _Given(keras.losses.Loss):
    def call(self, values, outputs):
        return values


_mean = _Given(name="given")


def reduced(values, outputs, sample_weight=None):
    """The mean of a loss as Keras computes it, with weights, masks and replicas.

    Args:
        values: the loss of each prediction, `(batch,)` or `(batch, positions...)`.
        outputs: the predictions, whose mask is applied.
        sample_weight: `(batch,)`, or the shape of the values, or None.

    >>> float(reduced(tf.constant([1.0, 3.0]), tf.zeros((2, 5)), tf.constant([1.0, 0])))
    0.5
    """
    return _mean(values, outputs, sample_weight)


def show(metric, loss, inputs):
    """Puts a reduced loss of a batch into its `keras.metrics.Mean`."""
    # Losses are divided by the number of replicas, but metrics average over replicas.
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    size = ops.shape(keras.tree.flatten(inputs)[0])[0]
    metric.update_state(loss * replicas, sample_weight=size)
