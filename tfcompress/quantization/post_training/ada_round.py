"""AdaRound: learning whether to round up or down."""

import numpy as np
import tensorflow as tf

from tfcompress.core.kinds import Integer, Number
from tfcompress.core.nouns import Rounding
from tfcompress.quantization.post_training.gptq import at_peak

_LOW, _HIGH = -0.1, 1.1
_WARM_UP = 0.2
_FIRST_BETA, _LAST_BETA = 20.0, 2.0


class AdaRound(Rounding):
    """Learns for each weight whether to round down or up.

        q = clip(floor(w / s) + h(v), -level, level),    h(v) = clip(1.2 σ(v) - 0.1, 0, 1)

        minimise  E‖zᵀ s q - xᵀ W‖² + λ Σ (1 - |2 h(v) - 1|^β)

    where the quantized model feeds the layer rows `z` and the exact model rows `x`. The
    first fifth of the steps has no second term; then `β` decreases from 20 to 2 along a
    cosine, and in the end `h` is 0 or 1. The gradient is that of the formulas. The first
    term is `tr(W̃ᵀ E[z zᵀ] W̃) - 2 tr(W̃ᵀ E[z xᵀ] W)` up to a constant, so every step uses
    all data; for each output, it is divided by the error of rounding to nearest, so that
    one `λ` suits all layers. Activations after the layer are not taken into account.

    Args:
        iterations: number of steps of Adam.
        learning_rate: learning rate of Adam.
        regularization: `λ`, for all inputs of an output together.

    Raises:
        ValueError: if an argument is not positive.

    Source: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training
    Quantization" (2020), section 3.

    Example:
        >>> weight, scale = np.array([[[0.45], [0.4]]]), np.ones((1, 1, 1))
        >>> same = np.ones((1, 2, 2))  # both inputs are always 1
        >>> mean = np.ones((1, 2))
        >>> inputs = tfc.post_training.Inputs(mean, mean, same, same)
        >>> AdaRound(500)(weight, scale, 7, inputs).ravel()  # 0.45 + 0.4 is nearly 1
        array([1., 0.])
    """

    needs_inputs = True

    def __init__(
        self,
        iterations: Integer(1) = 2000,
        learning_rate: Number(above=0) = 0.01,
        regularization: Number(above=0) = 1.0,
    ):
        self.iterations = iterations
        self.learning_rate = learning_rate
        self.regularization = regularization

    def __call__(self, weight, scale, level, inputs=None):
        """The rounded weights, for all groups at once."""
        floor = np.clip(np.floor(weight / scale), -level, level)
        fraction = np.clip(weight / scale - floor, 0.01, 0.99)
        start = -np.log((_HIGH - _LOW) / (fraction - _LOW) - 1)
        target = inputs.cross @ weight
        nearest = scale * np.clip(np.rint(weight / scale), -level, level) - weight
        error = np.sum(nearest * (inputs.moments @ nearest), axis=1, keepdims=True)
        error = np.maximum(error, 1e-6 * error.mean() + 1e-30)
        arrays = (start, floor, scale, inputs.moments, target, 1 / error)
        choice = _learn(
            *[tf.constant(array, tf.float32) for array in arrays],
            level=tf.constant(level, tf.float32),
            iterations=tf.constant(self.iterations),
            learning_rate=tf.constant(self.learning_rate, tf.float32),
            regularization=tf.constant(
                self.regularization / weight.shape[1], tf.float32
            ),
        ).numpy()
        codes = np.clip(floor + (choice >= 0.5), -level, level)
        peaks = at_peak(weight, scale, level)
        return np.where(peaks != 0, peaks * level, codes)


_ANY = tf.TensorSpec((None, None, None), tf.float32)
_NUMBER = tf.TensorSpec((), tf.float32)


def _soft(v):
    return tf.clip_by_value(tf.sigmoid(v) * (_HIGH - _LOW) + _LOW, 0.0, 1.0)


# One trace for layers of all shapes.
@tf.function(
    autograph=False,
    input_signature=[
        *[_ANY] * 6, _NUMBER, tf.TensorSpec((), tf.int32), _NUMBER, _NUMBER,
    ],
)  # fmt: skip
def _learn(
    start, floor, scale, moments, target, weighting,
    level, iterations, learning_rate, regularization,
):  # fmt: skip
    """`h(v)` after all steps."""

    def step(i, v, first, second):
        progress = tf.cast(i, tf.float32) / tf.cast(iterations, tf.float32)
        strength = tf.where(progress < _WARM_UP, 0.0, regularization)
        sigmoid = tf.sigmoid(v)
        stretched = sigmoid * (_HIGH - _LOW) + _LOW
        soft = tf.clip_by_value(stretched, 0.0, 1.0)
        code = floor + soft
        # Derivatives by hand: the moments are symmetric, so one product is enough.
        error = (
            tf.matmul(moments, scale * tf.clip_by_value(code, -level, level)) - target
        )
        by_code = tf.where(tf.abs(code) <= level, 2.0 * scale * weighting * error, 0.0)
        by_soft = by_code + strength * _undecided_by_soft(soft, _beta(progress))
        moves = tf.cast(soft == stretched, tf.float32)
        gradient = by_soft * moves * (_HIGH - _LOW) * sigmoid * (1.0 - sigmoid)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * tf.square(gradient)
        count = tf.cast(i + 1, tf.float32)
        size = tf.sqrt(second / (1.0 - tf.pow(0.999, count))) + 1e-8
        v -= learning_rate * first / (1.0 - tf.pow(0.9, count)) / size
        return i + 1, v, first, second

    zeros = tf.zeros_like(start)
    _, v, _, _ = tf.while_loop(
        lambda i, *_: i < iterations, step, (tf.constant(0), start, zeros, zeros)
    )
    return _soft(v)


def _undecided_by_soft(soft, beta):
    """The derivative of `1 - |2 h - 1|^β`."""
    signed = 2.0 * soft - 1.0
    return -2.0 * beta * tf.sign(signed) * tf.pow(tf.abs(signed), beta - 1.0)


def _beta(progress):
    past = tf.maximum(progress - _WARM_UP, 0.0) / (1 - _WARM_UP)
    return _LAST_BETA + (_FIRST_BETA - _LAST_BETA) * 0.5 * (1.0 + tf.cos(np.pi * past))
