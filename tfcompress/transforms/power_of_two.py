"""Weights whose multiplication is a bit shift."""

import keras

from tfcompress.core.kinds import Flag, Integer, Number
from tfcompress.core.nouns import ActivationQuantizer, WeightTransform
from tfcompress.transforms.exponents import leading_power
from tfcompress.transforms.scales import scale_axes
from tfcompress.transforms.straight_through import straight_through


class PowerOfTwo(WeightTransform, ActivationQuantizer):
    """Rounds weights or activations to signed powers of two, or zero.

    With `n = 2^(bits-1) - 1` exponents, the largest of which is `k_1`:

        k_1 = floor(log2(4/3 max|w|))
        k   = max(floor(log2(4/3 |w|)), k_1 - n + 1)
        y   = sign(w) 2^k  where |w| >= 2^(k_1 - n) , else 0

    which is the nearest of `0, ±2^k_1, ±2^(k_1 - 1), ..., ±2^(k_1 - n + 1)`, the larger
    one in case of a tie. Multiplying by such a weight is a bit shift.

    Gradient: `dL/dw = dL/dy` (straight-through estimator).

    Args:
        bits: 2 to 8, for `2^bits - 1` values. int8 files represent up to 4 bits exactly.
        per_channel: whether each output channel has its own highest power; the paper
            has one per layer.
        max_value: None: the highest power follows from the current weights; or a
            positive number used for `max|w|`, beyond which values are clipped. Required
            for activations: it is 6 after ReLU6.

    Raises:
        ValueError: if `bits` is not an integer in [2, 8], if `max_value` is not
            positive, or if it is None and the values are activations.

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
        """The highest power divided by the lowest."""
        return 2 ** (self.num_exponents - 1)

    def build(self, layer, weight, layout):
        """Stores the axes over which the highest power is shared."""
        self.axes = scale_axes(layout, self.per_channel)

    def __call__(self, values, training=False):
        """The rounded values."""
        return straight_through(self.forward, values)

    def forward(self, values):
        """The rounded values."""
        # Not with operators, whose result depends on how TensorFlow promotes types.
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
                "PowerOfTwo(max_value=None): the largest value of activations is not "
                "known beforehand. Pass max_value, such as 6 after ReLU6."
            )
        return keras.ops.max(magnitude, self.axes, keepdims=True)
