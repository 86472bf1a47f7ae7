"""Activation ranges for integer inference."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.keras_internals import producer
from tfcompress.core.kinds import Each, Integer, Number, OneOf, checked
from tfcompress.core.replicas import gathered

RANGES = ("moving_average", "learned")
# Values that stand for minus infinity, as in attention masks: this far below zero, and
# this many times as far as anything else in the tensor.
_FAR_BELOW = 1e4
_TIMES_AS_FAR = 1e3
# How far below the others they need to be: exp(-20) is negligible.
_FAR_ENOUGH = 20.0
# Tensors with only zeros also get a range, since kernels need a scale.
_LEAST_REACH = 1e-10
_DEAD_REACH = 1.0


@keras.saving.register_keras_serializable("tfcompress")
class FakeQuant(keras.layers.Layer):
    """Rounds activations to `2^bits` levels between a minimum and a maximum.

        s = (max - min) / (2^bits - 1),    y = s round((clip(x, min, max) - min) / s) + min

    where `min <= 0 <= max` are adjusted slightly so that 0 is a level. Values that stand
    for minus infinity in a mask (below -10,000, and 1,000 times as far from 0 as the rest
    of the tensor) are moved to 20 below the rest before a range is set. Gradient:
    `dL/dx = dL/dy` inside the range, 0 outside; a learned `max` receives the sum of
    `dL/dy` over `x > max`, and `min` likewise. Before the first batch, `y = x`.

    Args:
        bits: 2 to 16.
        ranges: `"moving_average"` of the batches' minimum and maximum in training,
            `"learned"` by gradient after the first batch, or fixed `(min, max)`.
        momentum: momentum of the moving average, in [0, 1).
        sites: number of places that share the range and are observed separately; the
            range spans all of them. `call` takes the index of the place as `site`.

    Raises:
        ValueError: if an argument is out of range.

    Source: Jacob et al. (2018), section 3.1; learned ranges: Choi et al., "PACT" (2018),
    section 3, at both ends.

    Example:
        >>> layer = FakeQuant(bits=2, ranges=(0.0, 3.0))
        >>> layer(np.array([-1.0, 0.4, 1.6, 9.0], "float32")).numpy()
        array([0., 0., 2., 3.], dtype=float32)
    """

    is_fake_quant = True

    @checked
    def __init__(
        self,
        bits: Integer(2, 16) = 8,
        ranges: OneOf(*RANGES)
        | Each(Number(), "two numbers min <= 0 <= max", count=2) = "moving_average",
        momentum: Number(0, below=1) = 0.99,
        sites: Integer(1) = 1,
        **kwargs,
    ):
        # Ranges are computed in float32, and the output has the input's dtype.
        kwargs.update(dtype="float32", autocast=False)
        super().__init__(**kwargs)
        fixed = not isinstance(ranges, str)
        if fixed and not ranges[0] <= 0 <= ranges[1]:
            raise ValueError(
                f"FakeQuant(ranges={ranges!r}): a range must contain 0, min <= 0 <= max."
            )
        self.bits = bits
        self.ranges = tuple(ranges) if fixed else ranges
        self.momentum = momentum
        self.sites = sites
        self.supports_masking = True

    @property
    def is_fixed(self):
        """Whether the range was given as numbers."""
        return not isinstance(self.ranges, str)

    def build(self, input_shape=None):
        """Creates the ranges."""
        low, high = self.ranges if self.is_fixed else (0.0, 0.0)
        trainable = self.ranges == "learned"
        self.minimum = self._add_range("minimum", low, trainable)
        self.maximum = self._add_range("maximum", high, trainable)
        self.seen = self._add_range("seen", float(self.is_fixed), trainable=False)

    def _add_range(self, name, value, trainable):
        return self.add_weight(
            name=name,
            shape=(self.sites,),
            initializer=keras.initializers.Constant(value),
            trainable=trainable,
            aggregation="none" if trainable else "mean",
        )

    def call(self, inputs, site=0, training=None):
        """The rounded inputs; in training, the range of `site` is updated first."""
        outputs = tf.cast(inputs, tf.float32)
        if training:
            if not self.is_fixed:
                self._observe(outputs, site)
            outputs = self._round(outputs)
        else:
            outputs = tf.cond(
                tf.reduce_max(self.seen.value) > 0,
                lambda: self._round(outputs),
                lambda: outputs,
            )
        return tf.cast(outputs, inputs.dtype)

    def _round(self, inputs):
        low = tf.minimum(tf.reduce_min(self.minimum.value), 0.0)
        high = tf.maximum(tf.reduce_max(self.maximum.value), 0.0)
        high += tf.where(high - low < _LEAST_REACH, _DEAD_REACH, 0.0)
        return tf.quantization.fake_quant_with_min_max_vars(
            inputs, low, high, num_bits=self.bits
        )

    def _observe(self, inputs, site):
        here = tf.one_hot(site, self.sites)
        seen = self.seen.value
        rate = 1.0 - self.momentum if self.ranges == "moving_average" else 0.0
        step = here * tf.where(seen > 0, rate, 1.0)
        inputs = bounded(tf.stop_gradient(inputs))
        lows, highs = gathered(tf.reduce_min(inputs), tf.reduce_max(inputs))
        for variable, value in (
            (self.minimum, tf.reduce_min(lows)),
            (self.maximum, tf.reduce_max(highs)),
        ):
            old = tf.convert_to_tensor(variable.value)
            variable.assign(tf.stop_gradient(old + step * (value - old)))
        self.seen.assign(tf.maximum(seen, here))

    def range(self):
        """`(min, max)` as floats, or None before the first batch."""
        if not self.built or not self.seen.numpy().any():
            return None
        low = min(float(self.minimum.numpy().min()), 0.0)
        return low, max(float(self.maximum.numpy().max()), 0.0)

    def set_range(self, low, high):
        """Sets the range of all places; training continues from it."""
        for variable, value in (
            (self.minimum, low),
            (self.maximum, high),
            (self.seen, 1.0),
        ):
            variable.assign([value] * self.sites)

    def call_plain(self, inputs, site=0):
        """The same as a Keras operation, which replaces the layer in `tfc.strip`."""
        if self.range() is None:
            return inputs
        low, high = self.range()
        high += _DEAD_REACH if high - low < _LEAST_REACH else 0.0
        if self.bits >= 8:
            return _fake_quant(inputs, low, high, self.bits)
        # The same step with 8 bits, as in integer files, but using fewer levels.
        step = (high - low) / (2**self.bits - 1)
        low = round(low / step) * step if step else low
        high, reach = low + (2**self.bits - 1) * step, low + 255 * step
        outputs = _fake_quant(inputs, low, reach, 8)
        return _fake_quant(keras.ops.clip(outputs, low, high), low, reach, 8)

    def compute_output_shape(self, input_shape):
        """The input's shape."""
        return input_shape

    def get_config(self):
        """The constructor's arguments."""
        config = super().get_config()
        config.pop("dtype")
        return {
            **config,
            "bits": self.bits,
            "ranges": list(self.ranges) if self.is_fixed else self.ranges,
            "momentum": self.momentum,
            "sites": self.sites,
        }


def bounded(values):
    """Replaces values that stand for minus infinity, which should not affect ranges.

    Args:
        values: a float tensor.

    >>> bounded(tf.constant([-1e9, -2.0, 3.0])).numpy()
    array([-22.,  -2.,   3.], dtype=float32)
    """
    is_far = values <= -_FAR_BELOW
    others = tf.where(is_far, 0.0, values)
    nearest = tf.reduce_max(tf.where(is_far, values, -np.inf))
    reach = tf.reduce_max(tf.abs(others))
    is_mask = tf.reduce_any(~is_far) & (-nearest > _TIMES_AS_FAR * reach)
    lowest = tf.reduce_min(others) - _FAR_ENOUGH
    return tf.where(is_far & is_mask, lowest, values)


def _fake_quant(inputs, low, high, bits):
    outputs = keras.quantizers.fake_quant_with_min_max_vars(inputs, low, high)
    if bits == 8:
        return outputs
    # Keras 3.15 drops num_bits if it is called with symbolic tensors.
    operation = type(producer(outputs))(num_bits=bits)
    return operation(inputs, low, high)
