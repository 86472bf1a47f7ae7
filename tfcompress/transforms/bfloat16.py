"""Weights that bfloat16 can represent."""

import tensorflow as tf

from tfcompress.transforms.half import Half


class BFloat16(Half):
    """Rounds weights or activations to bfloat16: 8 significant bits.

    The exponent range is that of float32.

    `y = bfloat16(w)`, to the nearest, ties to even; the largest values stay finite.

    Gradient: `dL/dw = dL/dy` (straight-through estimator).

    Source: Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training" (2019),
    section 3.

    Example:
        >>> layer = keras.layers.Dense(1, use_bias=False); layer.build((None, 3))
        >>> _ = layer.kernel.assign([[1.003], [1.005], [1e6]])
        >>> model = keras.Sequential([keras.Input((3,)), layer])
        >>> rounded = tfc.strip(tfc.compress(model, {".*": "b_float16"}))
        >>> rounded.layers[0].kernel.numpy().ravel().tolist()
        [1.0, 1.0078125, 999424.0]
    """

    dtype = tf.bfloat16
