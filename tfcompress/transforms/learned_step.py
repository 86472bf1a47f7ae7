"""Evenly spaced levels whose distance is trained."""

import math

import numpy as np
import tensorflow as tf

from tfcompress.core.nouns import WeightTransform
from tfcompress.transforms.scales import mean_magnitude, scale_axes, scale_shape


class LearnedStep(WeightTransform):
    """Rounds weights to a symmetric grid whose step is trained (LSQ).

    With `Q = 2^(bits-1) - 1` levels on each side of zero and the trained step `s`:

        y = s round(clip(w / s, -Q, Q))

    Gradients:

        dL/dw = dL/dy where |w / s| < Q, else 0
        dL/ds = g sum(dL/dy d),   d = round(w / s) - w / s where |w / s| < Q,
                                  d = Q sign(w) elsewhere

    with `g = 1 / sqrt(N Q)` for `N` weights that share the step, so that a step moves
    about as fast as a weight, in proportion to its size. It starts at
    `s = 2 mean|w| / sqrt(Q)`, the mean taken over the weights that are not zero
    (`s = 1 / Q` if all are), and is not set anew when masks change. At 8 bits this start
    uses about a tenth of the levels; training makes the step smaller if that helps.

    Unlike the paper's, the range is narrow: no level `-2^(bits-1)`, so that integer
    files hold the grid exactly.

    Args:
        bits: 2 to 16.
        per_channel: whether each output channel has its own step; the paper has one a
            layer. Behind a transform that shares values between channels, such as
            `Codebook`, there is one.

    Attributes:
        step: variable `s`, of a shape that broadcasts to the weight's.

    Raises:
        ValueError: if `bits` is not an integer in [2, 16].

    Source: Esser et al., "Learned Step Size Quantization" (2020), sections 2.1 and 2.2.

    Example:
        >>> layer = keras.layers.Dense(1, use_bias=False); layer.build((None, 4))
        >>> _ = layer.kernel.assign([[0.25], [0.25], [0.5], [-1.0]])
        >>> model = keras.Sequential([keras.Input((4,)), layer])
        >>> model = tfc.compress(model, {".*": LearnedStep(bits=2)})
        >>> tfc.strip(model).layers[0].kernel.numpy().ravel()
        array([ 0., 0., 0., -1.], dtype=float32)
    """

    def __init__(self, bits=8, per_channel=False):
        if not isinstance(bits, int) or not 2 <= bits <= 16:
            raise ValueError(
                f"LearnedStep(bits={bits!r}): expected an integer from 2 to 16. For one "
                "bit use Binary."
            )
        self.bits = bits
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
        """Creates the step."""
        self.axes = scale_axes(layout, self.per_channel)
        self.step = layer.add_weight(
            name=f"{weight.name}_step",
            shape=scale_shape(layout, self.axes),
            dtype=weight.dtype,
            initializer="zeros",
            trainable=True,
        )

    def refresh(self, weight):
        """Sets the step, unless it has been set already."""
        if self.step.numpy().any():
            return
        mean = mean_magnitude(weight, self.axes).numpy()
        start = 2 * mean / math.sqrt(self.max_level)
        self.step.assign(np.where(mean > 0, start, 1 / self.max_level))

    def __call__(self, weight, training=False):
        """The rounded weight."""
        levels = self.max_level

        @tf.custom_gradient
        def round_to(weight, step):
            ratio = tf.math.divide_no_nan(weight, step)
            rounded = tf.round(tf.clip_by_value(ratio, -levels, levels))

            def gradient(upstream):
                inside = tf.abs(ratio) < levels
                slope = rounded - tf.where(inside, ratio, tf.zeros_like(ratio))
                num_sharing = ratio.shape.num_elements() / step.shape.num_elements()
                total = tf.reduce_sum(upstream * slope, self.axes, keepdims=True)
                return (
                    tf.where(inside, upstream, tf.zeros_like(upstream)),
                    total / math.sqrt(num_sharing * levels),
                )

            return step * rounded, gradient

        return round_to(
            tf.convert_to_tensor(weight), tf.convert_to_tensor(self.step.value)
        )
