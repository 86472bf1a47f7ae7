"""The squared gradients of single samples."""

import keras
import tensorflow as tf

from tfcompress.core.nouns import Signal
from tfcompress.pruning.signals.per_output import calls_of


class SquaredGradient(Signal):
    """`E_n[(dL_n/dw)²]`, the diagonal of the empirical Fisher information.

    The mean is over samples `n` with losses `L_n`; it is not the square of the mean
    gradient. For dense layers with one row per sample it is `(X²)ᵀ (Δ²) / N` with the
    inputs `X` and the gradients `Δ` before the activation. Other layers, whose weights
    are used at several positions, are differentiated sample by sample, so that only one
    gradient is kept at a time. It has the shape of the weight.

    The samples must not influence each other, and the loss must be a mean over them.

    Source: Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks"
    (2017); Theis et al., "Faster gaze prediction with dense networks and Fisher
    pruning" (2018).

    Example:
        >>> tfc.signals.get("squared_gradient")
        SquaredGradient()
    """

    observes = frozenset({"calls", "output_gradient"})

    def update(self, seen):
        """The sum over the samples, and their number."""
        calls = calls_of(seen)
        samples = tf.shape(calls[0].inputs)[0]
        sums = _of_rows if _is_one_row(seen, calls) else _one_by_one
        return sums(seen, calls), tf.cast(samples, tf.float32)

    def result(self, totals, ref):
        """The mean."""
        squares, samples = totals
        return ref.layout.to_canonical(squares / samples)


def _is_one_row(seen, calls):
    layer = seen.ref.owner
    is_dense = type(layer) is keras.layers.Dense and seen.ref.variable is layer.kernel
    return is_dense and len(calls) == 1 and len(calls[0].inputs.shape) == 2


def _of_rows(seen, calls):
    layer, (call,) = seen.ref.owner, calls
    # A layer in half precision computes with copies of its weights.
    inputs = tf.cast(call.inputs, seen.weight.dtype)
    # The derivative of the activation, at the layer's own values before it.
    before = tf.matmul(inputs, seen.weight)
    if layer.use_bias:
        before += tf.cast(call.values[id(layer.bias)], before.dtype)
    with tf.GradientTape() as tape:
        tape.watch(before)
        after = layer.activation(before)
    outside = tf.cast(call.output_gradient, after.dtype)
    slopes = tape.gradient(after, before, output_gradients=outside)
    return tf.matmul(inputs**2, slopes**2, transpose_a=True)


def _one_by_one(seen, calls):
    weight, variable = tf.convert_to_tensor(seen.weight), seen.ref.variable

    def gradient(number):
        with tf.GradientTape() as tape:
            tape.watch(weight)
            outputs = [
                call.run({id(variable): weight}, call.inputs[number : number + 1])
                for call in calls
            ]
        slopes = [call.output_gradient[number : number + 1] for call in calls]
        return tape.gradient(outputs, weight, output_gradients=slopes)

    return tf.while_loop(
        lambda number, total: number < tf.shape(calls[0].inputs)[0],
        lambda number, total: (number + 1, total + gradient(number) ** 2),
        (0, tf.zeros_like(weight)),
    )[1]
