"""Evenly spaced levels."""

import keras
import tensorflow as tf

from tfcompress.core.nouns import WeightTransform
from tfcompress.transforms.scales import scale_axes
from tfcompress.transforms.straight_through import straight_through


class Uniform(WeightTransform):
    """Rounds weights to evenly spaced levels; the gradient passes straight through.

    Symmetric (narrow range, `Q = 2^(bits-1) - 1` levels on each side of zero):

        s = max|w| / Q,    y = s round(w / s)

    Affine (`2^bits` levels, zero is one of them):

        s = (max(w, 0) - min(w, 0)) / (2^bits - 1),    z = round(-min(w, 0) / s)
        y = s (clip(round(w / s) + z, 0, 2^bits - 1) - z)

    Gradient: `dL/dw = dL/dy` (straight-through estimator); the scale is recomputed
    from the weights and has no gradient. Rounding is to the nearest, ties to even.

    Args:
        bits: 2 to 16.
        symmetric: whether levels are symmetric around zero, as TFLite's weights are.
        per_channel: whether each output channel has its own scale. Behind a transform
            that shares values between channels, such as `Codebook`, there is one scale.

    Raises:
        ValueError: if `bits` is not an integer in [2, 16].

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference" (2018), section 3; straight-through estimator:
    Bengio et al. (2013).

    Example:
        >>> layer = keras.layers.Dense(2, use_bias=False); layer.build((None, 2))
        >>> _ = layer.kernel.assign([[-1.0, 0.3], [0.6, 1.0]])
        >>> model = keras.Sequential([keras.Input((2,)), layer])
        >>> rounded = tfc.strip(tfc.compress(model, {".*": Uniform(bits=2)}))
        >>> rounded.layers[0].kernel.numpy()
        array([[-1.,  0.],
               [ 1.,  1.]], dtype=float32)
    """

    def __init__(self, bits=8, symmetric=True, per_channel=True):
        if not isinstance(bits, int) or not 2 <= bits <= 16:
            raise ValueError(
                f"Uniform(bits={bits!r}): expected an integer from 2 to 16. For one bit "
                "use a binary transform."
            )
        self.bits = bits
        self.symmetric = symmetric
        self.per_channel = per_channel

    @property
    def max_level(self):
        """Affine levels are this far from zero at most."""
        return 2 ** (self.bits - 1) - 1 if self.symmetric else 2**self.bits - 1

    def build(self, layer, weight, layout):
        """Remembers over which axes a scale is shared."""
        self.axes = scale_axes(layout, self.per_channel)

    def __call__(self, weight, training=False):
        """The rounded weight."""
        return straight_through(self._round, weight)

    def _round(self, weight):
        quantize = self._round_symmetric if self.symmetric else self._round_affine
        return quantize(weight)

    def _round_symmetric(self, weight):
        levels = 2 ** (self.bits - 1) - 1
        scale = tf.reduce_max(tf.abs(weight), self.axes, keepdims=True) / levels
        scale = tf.where(scale > 0, scale, tf.ones_like(scale))
        return scale * tf.round(weight / scale)

    def _round_affine(self, weight):
        levels = 2**self.bits - 1
        low = tf.minimum(tf.reduce_min(weight, self.axes, keepdims=True), 0)
        high = tf.maximum(tf.reduce_max(weight, self.axes, keepdims=True), 0)
        scale = (high - low) / levels
        scale = tf.where(scale > 0, scale, tf.ones_like(scale))
        zero = tf.round(-low / scale)
        return scale * (
            tf.clip_by_value(tf.round(weight / scale) + zero, 0, levels) - zero
        )

    def bake(self, weight):
        """The rounded NumPy array."""
        return self._round(keras.ops.convert_to_tensor(weight)).numpy()
