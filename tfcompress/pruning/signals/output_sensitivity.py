"""Sensitivity of the outputs to each weight."""

import contextlib

import keras
import tensorflow as tf

from tfcompress.core.nouns import Signal


class OutputSensitivity(Signal):
    """`E_b |dF_b/dw|`, with `F_b` the mean of `‖f(x)‖²` over a batch.

    Memory aware synapses: no labels are needed. The absolute value is taken per batch,
    as in the authors' code. It has the shape of the weight.

    Source: Aljundi et al., "Memory aware synapses" (2018), section 4.1.

    Example:
        >>> tfc.signals.get("output_sensitivity")
        OutputSensitivity()
    """

    def measure(self, source):
        """The mean over the batches."""
        source.check_data({"output_sensitivity"})
        step = source.prepared(self, lambda: _prepare(source.copy, source.weights))
        totals, count = [0.0] * len(source.weights), 0
        for x, _, _ in source.each_batch():
            parts = zip(totals, step(x), strict=True)
            totals = [total + part.numpy().astype("float64") for total, part in parts]
            count += 1
        return [
            weight.ref.layout.to_canonical(total / count)
            for weight, total in zip(source.weights, totals, strict=True)
        ]


def _prepare(model, weights):
    return tf.function(lambda x: _slopes(model, weights, x), reduce_retracing=True)


def _slopes(model, weights, x):
    """The magnitudes of the gradients for a batch."""
    with tf.GradientTape() as tape, contextlib.ExitStack() as stack:
        values = [stack.enter_context(weight.watched(tape)) for weight in weights]
        outputs = keras.tree.flatten(model(x, training=False))
        samples = tf.cast(tf.shape(outputs[0])[0], tf.float32)
        squares = [tf.reduce_sum(tf.cast(o, tf.float32) ** 2) for o in outputs]
        length = tf.add_n(squares) / samples
    slopes = tape.gradient(length, values, unconnected_gradients="zero")
    return [tf.abs(tf.add_n(of_calls)) for of_calls in slopes]
