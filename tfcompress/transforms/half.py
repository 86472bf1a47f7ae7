"""Weights that 16-bit floating point holds."""

import tensorflow as tf

from tfcompress.core.nouns import WeightTransform
from tfcompress.transforms.straight_through import straight_through


class Half(WeightTransform):
    """Rounds weights to float16: 11 significant bits.

    `y = float16(clip(w, -65504, 65504))`, to the nearest, ties to even; what is smaller
    than `2^-25` becomes zero. Files with `precision="float16"` hold such weights exactly.

    Gradient: `dL/dw = dL/dy` (straight-through estimator).

    Source: IEEE 754-2008, binary16.

    Example:
        >>> layer = keras.layers.Dense(1, use_bias=False); layer.build((None, 3))
        >>> _ = layer.kernel.assign([[1.0001], [1.0007], [1e6]])
        >>> model = keras.Sequential([keras.Input((3,)), layer])
        >>> half = tfc.strip(tfc.compress(model, {".*": "half"}))
        >>> half.layers[0].kernel.numpy().ravel().tolist()
        [1.0, 1.0009765625, 65504.0]
    """

    dtype = tf.float16

    def __call__(self, weight, training=False):
        """The rounded weight."""
        return straight_through(self._round, weight)

    def _round(self, weight):
        # In float32, which has both limits and all 16-bit numbers.
        single = tf.cast(weight, tf.float32)
        single = tf.clip_by_value(single, self.dtype.min, self.dtype.max)
        return tf.cast(tf.cast(single, self.dtype), weight.dtype)
