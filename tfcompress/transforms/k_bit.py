"""Grids whose number of bits can change while a model trains."""

import keras
import tensorflow as tf

from tfcompress.core.kinds import Integer
from tfcompress.core.nouns import WeightTransform

_FINE_BITS = 4


class KBit(WeightTransform):
    """A transform with `2^(bits-1) - 1` levels on each side of zero.

    The number of levels is a variable of the layer: a compiled training step sees it
    change, files contain it, and `bits` reads it.
    """

    _levels = None

    def __init__(self, bits):
        self._known_bits = bits
        # Finer grids train well from the first step.
        self.waits = bits < _FINE_BITS

    @property
    def bits(self):
        """The current bit width of the grid."""
        # While a function is traced, the variable has no value to read.
        if self._levels is not None and tf.executing_eagerly():
            self._known_bits = int(self._levels.numpy()).bit_length() + 1
        return self._known_bits

    def build(self, layer, weight, layout):
        """Creates the number of levels."""
        self._levels = layer.add_weight(
            name=f"{weight.name}_levels",
            shape=(),
            dtype=weight.dtype,
            initializer=keras.initializers.Constant(2 ** (self.bits - 1) - 1),
            trainable=False,
        )

    def change_bits(self, bits, weight):
        """Changes the grid during training.

        Args:
            bits: new bit width, 2 to 16.
            weight: NumPy array, the values that this transform receives.
        """
        bits = Integer(2, 16).check(f"{type(self).__name__}.change_bits(bits)", bits)
        if self.bits == 1:
            raise ValueError(
                f"{self!r} has two values and no grid whose bit width could change. "
                "Start with 2 bits or more."
            )
        self._levels.assign(2 ** (bits - 1) - 1)
