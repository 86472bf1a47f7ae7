"""Weights by which a shift multiplies."""

import keras

from tfcompress.core.kinds import Flag, Integer, Number
from tfcompress.core.nouns import ActivationQuantizer, WeightTransform
from tfcompress.transforms.exponents import leading_power
from tfcompress.transforms.scales import scale_axes
from tfcompress.transforms.straight_through import straight_through


class PowerOfTwo(WeightTransform, ActivationQuantizer):
    """Rounds weights or activations to signed powers of two, or zero.

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
        max_value: None: the highest power is that of the weights as they are; or the
            positive number that stands for `max|w|`, beyond which values are clipped.
            Activations need it: it is 6 behind ReLU6.

    Raises:
        ValueError: if `bits` is not an integer in [2, 8], `max_value` is not positive,
            or it is None and the values are activations.

    Source: INQ: Zhou et al., "Incremental Network Quantization" (2017), section 2.1;
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

    def __init__(
        self,
        bits: Integer(2, 8) = 4,
        per_channel: Flag() = False,
        max_value: Number(above=0) = None,
    ):
        self.bits = bits
        self.per_channel = per_channel
        self.max_value = max_value
        self.axes = None

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

    def __call__(self, values, training=False):
        """The rounded values."""
        return straight_through(self.forward, values)

    def forward(self, values):
        """The rounded values."""
        # Not by operators, whose result depends on how TensorFlow promotes types.
        multiply = keras.ops.multiply
        magnitude = keras.ops.abs(values)
        highest = leading_power(multiply(self._peak(magnitude), 4 / 3))
        lowest = multiply(highest, 2.0 ** (1 - self.num_exponents))
        power = keras.ops.maximum(leading_power(multiply(magnitude, 4 / 3)), lowest)
        power = keras.ops.minimum(power, highest)
        signed = keras.ops.sign(values) * power
        return keras.ops.where(
            magnitude >= multiply(lowest, 0.5), signed, keras.ops.zeros_like(values)
        )

    def _peak(self, magnitude):
        if self.max_value is not None:
            return keras.ops.convert_to_tensor(self.max_value, magnitude.dtype)
        if self.axes is None:
            raise ValueError(
                "PowerOfTwo(max_value=None): activations have no largest value that is "
                "known beforehand. Give max_value, such as 6 behind ReLU6."
            )
        return keras.ops.max(magnitude, self.axes, keepdims=True)
