"""Weights by which a shift multiplies."""

import tensorflow as tf

from tfcompress.core.nouns import WeightTransform
from tfcompress.transforms.exponents import leading_power
from tfcompress.transforms.scales import scale_axes
from tfcompress.transforms.straight_through import straight_through


class PowerOfTwo(WeightTransform):
    """Rounds weights to signed powers of two, or zero.

    With `n = 2^(bits-1) - 1` exponents, the highest of which is `k_1`:

        k_1 = floor(log2(4/3 max|w|))
        k   = max(floor(log2(4/3 |w|)), k_1 - n + 1)
        y   = sign(w) 2^k  where |w| >= 2^(k_1 - n) , else 0

    which is the nearest of `0, ±2^k_1, ±2^(k_1 - 1), ..., ±2^(k_1 - n + 1)`, the larger
    one of two equally near. A multiplication by such a weight is a shift of bits.

    Gradient: `dL/dw = dL/dy` (straight-through estimator).

    Args:
        bits: 2 to 8, so that there are `2^bits - 1` values. int8 files hold up to 4 bits
            exactly.
        per_channel: whether each output channel has its own highest power; the paper
            has one a layer.

    Raises:
        ValueError: if `bits` is not an integer in [2, 8].

    Source: Zhou et al., "Incremental Network Quantization" (2017), section 2.1;
    Miyashita et al., "Convolutional Neural Networks using Logarithmic Data
    Representation" (2016).

    Example:
        >>> layer = keras.layers.Dense(1, use_bias=False); layer.build((None, 5))
        >>> _ = layer.kernel.assign([[1.1], [-0.7], [0.3], [0.2], [0.1]])
        >>> model = keras.Sequential([keras.Input((5,)), layer])
        >>> model = tfc.compress(model, {".*": PowerOfTwo(bits=3)})
        >>> tfc.strip(model).layers[0].kernel.numpy().ravel()
        array([ 1. , -0.5 , 0.25, 0.25, 0. ], dtype=float32)
    """

    shares_values = True

    def __init__(self, bits=4, per_channel=False):
        if not isinstance(bits, int) or not 2 <= bits <= 8:
            raise ValueError(
                f"PowerOfTwo(bits={bits!r}): expected an integer from 2 to 8."
            )
        self.bits = bits
        self.per_channel = per_channel

    @property
    def num_exponents(self):
        """`n`."""
        return 2 ** (self.bits - 1) - 1

    @property
    def max_level(self):
        """The highest power over the lowest."""
        return 2 ** (self.num_exponents - 1)

    def build(self, layer, weight, layout):
        """Remembers over which axes the highest power is shared."""
        self.axes = scale_axes(layout, self.per_channel)

    def __call__(self, weight, training=False):
        """The rounded weight."""
        return straight_through(self._round, weight)

    def _round(self, weight):
        magnitude = tf.abs(weight)
        peak = tf.reduce_max(magnitude, self.axes, keepdims=True)
        lowest = leading_power(peak * (4 / 3)) * 2.0 ** (1 - self.num_exponents)
        power = tf.maximum(leading_power(magnitude * (4 / 3)), lowest)
        return tf.where(
            magnitude >= lowest / 2, tf.sign(weight) * power, tf.zeros_like(weight)
        )
