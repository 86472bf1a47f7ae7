"""Weights that 16-bit floating point can represent."""

import keras
import tensorflow as tf

from tfcompress.core.nouns import ActivationQuantizer, WeightTransform
from tfcompress.transforms.straight_through import straight_through


class Half(WeightTransform, ActivationQuantizer):
    """Rounds weights or activations to float16: 11 significant bits.

    `y = float16(clip(w, -65504, 65504))`, to the nearest, ties to even; magnitudes
    below `2^-25` become zero. Files with `precision="float16"` store such weights exactly.

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

    def __call__(self, values, training=False):
        """The rounded values."""
        return straight_through(self.forward, values)

    def forward(self, values):
        """The rounded values."""
        # In float32, which can represent both limits and all 16-bit numbers.
        single = keras.ops.cast(values, "float32")
        largest = float(self.dtype.max)
        single = keras.ops.clip(single, -largest, largest)
        rounded = keras.ops.cast(single, self.dtype.name)
        return keras.ops.cast(rounded, values.dtype)
