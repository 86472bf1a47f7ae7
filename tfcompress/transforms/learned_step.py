"""Evenly spaced levels with a trained step size."""

import math

import numpy as np
import tensorflow as tf

from tfcompress.core.kinds import Flag, Integer
from tfcompress.transforms.k_bit import KBit
from tfcompress.transforms.scales import mean_magnitude, scale_axes, scale_shape


class LearnedStep(KBit):
    """Rounds weights to a symmetric grid with a trained step size (LSQ).

    With `Q = 2^(bits-1) - 1` levels on each side of zero and the trained step `s`:

        y = s round(clip(w / s, -Q, Q))

    Gradients:

        dL/dw = dL/dy where |w / s| < Q, else 0
        dL/ds = g sum(dL/dy d),   d = round(w / s) - w / s where |w / s| < Q,
                                  d = Q sign(w) elsewhere

    with `g = 1 / sqrt(N Q)` for `N` weights that share the step, so that a step changes
    about as fast as a weight, relative to its size. It starts at
    `s = 2 mean|w| / sqrt(Q)`, the mean taken over the weights that are not zero
    (`s = 1 / Q` if all are), and is not reset when masks change. At 8 bits this initial
    step uses about a tenth of the levels; training makes it smaller if that helps.

    Unlike in the paper, the range is narrow: there is no level `-2^(bits-1)`, so that
    integer files represent the grid exactly.

    Args:
        bits: 2 to 16; `tfc.callbacks.BitAnnealing` changes it during training.
        per_channel: whether each output channel has its own step; the paper has one per
            layer. After a transform that shares values between channels, such as
            `Codebook`, there is a single step.

    Attributes:
        step: variable `s`, of a shape that broadcasts to the weight's.

    Raises:
        ValueError: if `bits` is not an integer in [2, 16].

    Source: LSQ: Esser et al., "Learned Step Size Quantization" (2020), sections 2.1 and
    2.2.

    Example:
        >>> layer = keras.layers.Dense(1, use_bias=False); layer.build((None, 4))
        >>> _ = layer.kernel.assign([[0.25], [0.25], [0.5], [-1.0]])
        >>> model = keras.Sequential([keras.Input((4,)), layer])
        >>> model = tfc.compress(model, {".*": LearnedStep(bits=2)})
        >>> tfc.strip(model).layers[0].kernel.numpy().ravel()
        array([ 0., 0., 0., -1.], dtype=float32)
    """

    def __init__(self, bits: Integer(2, 16) = 8, per_channel: Flag() = False):
        super().__init__(bits)
        self.per_channel = per_channel

    @property
    def max_level(self):
        """`Q`."""
        return 2 ** (self.bits - 1) - 1

    @property
    def shares_values(self):
        """One step gives all channels the same levels."""
        return not self.per_channel

    def build(self, layer, weight, layout):
        """Creates the number of levels and the step."""
        super().build(layer, weight, layout)
        self.axes = scale_axes(layout, self.per_channel)
        self.step = layer.add_weight(
            name=f"{weight.name}_step",
            shape=scale_shape(layout, self.axes),
            dtype=weight.dtype,
            initializer="zeros",
            trainable=True,
        )

    def reset(self):
        """Discards the step."""
        self.step.assign(np.zeros(self.step.shape))

    def refresh(self, weight):
        """Sets the step, unless it has been set already."""
        if self.step.numpy().any():
            return
        mean = mean_magnitude(weight, self.axes).numpy()
        start = 2 * mean / math.sqrt(self.max_level)
        self.step.assign(np.where(mean > 0, start, 1 / self.max_level))

    def change_bits(self, bits, weight):
        """Changes the grid and initializes its step again."""
        super().change_bits(bits, weight)
        self.reset()
        self.refresh(weight)

    def __call__(self, weight, training=False):
        """The rounded weight."""
        levels = tf.convert_to_tensor(self._levels.value)
        step = tf.convert_to_tensor(self.step.value)
        num_sharing = math.prod(weight.shape) / math.prod(step.shape)
        return round_to_step(weight, step, -levels, levels, self.axes, num_sharing)


def round_to_step(values, step, low, high, axes, num_sharing):
    """`s round(clip(x / s, low, high))` with the gradients of LSQ.

    Args:
        values: tensor `x`.
        step: tensor `s` that broadcasts to it; its gradient is the sum over `axes`,
            multiplied by `1 / sqrt(num_sharing high)`.
        low: smallest integer level, a float tensor.
        high: largest integer level, a float tensor.
        axes: tuple of axes over which a step is shared.
        num_sharing: the number of values that share a step.

    >>> x, s = tf.constant([0.4, 1.6, 9.0]), tf.constant([1.0])
    >>> round_to_step(x, s, tf.constant(0.0), tf.constant(3.0), (0,), 3).numpy()
    array([0., 2., 3.], dtype=float32)
    """

    @tf.custom_gradient
    def forward(values, step):
        ratio = tf.math.divide_no_nan(values, step)
        rounded = tf.round(tf.clip_by_value(ratio, low, high))

        def gradient(upstream):
            inside = (low < ratio) & (ratio < high)
            slope = rounded - tf.where(inside, ratio, tf.zeros_like(ratio))
            total = tf.reduce_sum(upstream * slope, axes, keepdims=True)
            return (
                tf.where(inside, upstream, tf.zeros_like(upstream)),
                tf.reshape(total / tf.sqrt(num_sharing * high), step.shape),
            )

        return step * rounded, gradient

    return forward(tf.convert_to_tensor(values), step)
