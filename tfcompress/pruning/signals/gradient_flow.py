"""Dependence of the gradient's norm on each weight."""

import contextlib

import keras
import tensorflow as tf

from tfcompress.core.nouns import Signal
from tfcompress.distillation.outputs import output_kinds, to_logits

_TEMPERATURE = 200.0


class GradientFlow(Signal):
    """`H g`, with the gradient `g` and the Hessian `H` of the loss at temperature 200.

    This is half of the derivative of `gᵀg` with respect to each weight. Logits are
    divided by the temperature, which prevents confident predictions of new models. The
    result is the mean over batches; one batch of about 25 samples per class is enough.
    It has the shape of the weight.

    Source: Wang et al., "Picking winning tickets before training by preserving gradient
    flow" (2020), section 4.

    Example:
        >>> tfc.signals.get("gradient_flow")
        GradientFlow()
    """

    def measure(self, source):
        """The mean of the products over the batches."""
        source.check_data({"gradient_flow"})
        source.check_compiled({"gradient_flow"})
        totals, count = [0.0] * len(source.weights), 0
        for batch in source.each_batch():
            step = source.prepared(self, lambda x=batch[0]: _prepare(source, x))
            parts = zip(totals, step(*batch), strict=True)
            totals = [total + part.numpy().astype("float64") for total, part in parts]
            count += 1
        return [
            weight.ref.layout.to_canonical(total / count)
            for weight, total in zip(source.weights, totals, strict=True)
        ]


def _prepare(source, x):
    """The compiled step, for models whose kinds of outputs can be determined from `x`."""
    kinds = output_kinds(source.copy, source.copy(x, training=False))
    return tf.function(_Step(source, kinds), reduce_retracing=True)


class _Step:
    """`H g` of each weight for one batch."""

    def __init__(self, source, kinds):
        self._source, self._kinds = source, kinds

    def __call__(self, x, y, sample_weight):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner, contextlib.ExitStack() as stack:
                values = [
                    stack.enter_context(weight.watched(inner, outer))
                    for weight in self._source.weights
                ]
                outputs = self._tempered(self._source.copy(x, training=False))
                loss = self._source.model.compute_loss(
                    x, y, outputs, sample_weight, training=False
                )
            gradients = inner.gradient(loss, values, unconnected_gradients="zero")
            # A shared layer has one gradient per call.
            sums = [tf.add_n(of_calls) for of_calls in gradients]
            length = tf.add_n([tf.reduce_sum(g * tf.stop_gradient(g)) for g in sums])
        flows = outer.gradient(length, values, unconnected_gradients="zero")
        return [tf.add_n(of_calls) for of_calls in flows]

    def _tempered(self, outputs):
        flat = keras.tree.flatten(outputs)
        flat = [_tempered(*each) for each in zip(flat, self._kinds, strict=True)]
        return keras.tree.pack_sequence_as(outputs, flat)


def _tempered(output, kind):
    """An output with its logits divided by the temperature."""
    if kind == "logits":
        return output / _TEMPERATURE
    function = {"softmax": tf.nn.softmax, "sigmoid": tf.sigmoid}[kind]
    return tf.reshape(
        function(to_logits(output, kind) / _TEMPERATURE), tf.shape(output)
    )
