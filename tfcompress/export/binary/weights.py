"""Kernels that have two or three values."""

import dataclasses

import keras
import numpy as np

from tfcompress.core.layout import layout
from tfcompress.export.binary.bits import WORD, num_words

# A neuron with few nonzero weights may have such values by chance.
_MIN_FAN_IN = 8
_MIN_DENSITY = 1 / 8
_TOLERANCE = 1e-6


@dataclasses.dataclass(frozen=True)
class BinaryWeights:
    """A kernel `scale * sign`, with one scale per output.

    Attributes:
        signs: int8 array of -1, 0 and 1, `(outputs, ..., channels)`.
        scale: float32 array `(outputs,)`.
    """

    signs: np.ndarray
    scale: np.ndarray

    @property
    def planes(self):
        """Bits per weight."""
        return 1 if self.signs.all() else 2

    @property
    def fan_in(self):
        """Weights per output."""
        return self.signs[0].size

    @property
    def packed_bytes(self):
        """Bytes of the bits and of two numbers per output."""
        rows = self.signs[0].size // self.signs.shape[-1]
        words = self.planes * rows * num_words(self.signs.shape[-1])
        return len(self.signs) * (words + 2) * WORD // 8

    @classmethod
    def of(cls, values):
        """The `BinaryWeights` of a kernel, or None if it has other values.

        Args:
            values: array `(..., channels, outputs)`.
        """
        # Outputs first, with the channels of a pixel next to each other.
        values = np.moveaxis(values, -1, 0)
        rows = values.reshape(len(values), -1)
        # A few weights are enough to rule out nearly every kernel.
        if rows.shape[1] < _MIN_FAN_IN or not has_one_size(rows[:1, :64]):
            return None
        if np.mean(rows != 0) < _MIN_DENSITY or not has_one_size(rows):
            return None
        scale = np.abs(rows).max(axis=1)
        return cls(np.sign(values).astype(np.int8), scale.astype(np.float32))

    def reversed(self, outputs):
        """The signs, negated where the boolean array `outputs` is true."""
        factor = np.where(outputs, -1, 1).astype(np.int8)
        return self.signs * factor.reshape(-1, *[1] * (self.signs.ndim - 1))


def binary_weights(layer):
    """The `BinaryWeights` of a layer's kernel, or None if it has other values.

    >>> layer = keras.layers.Dense(1); layer.build((None, 8))
    >>> _ = layer.kernel.assign(np.reshape([.5, -.5, .5, .5, -.5, 0, 0, .5], (8, 1)))
    >>> weights = binary_weights(layer)
    >>> weights.signs, weights.scale, weights.planes
    (array([[ 1, -1,  1,  1, -1,  0,  0,  1]], dtype=int8), array([0.5], dtype=float32), 2)
    """
    kernel = getattr(layer, "kernel", None)
    if not isinstance(kernel, keras.Variable) or len(kernel.shape) < 2:
        return None
    return BinaryWeights.of(layout(layer, kernel).to_canonical(kernel.numpy()))


def has_one_size(rows):
    """Whether all nonzero weights of a row have the same magnitude.

    >>> has_one_size(np.array([[0.5, -0.5, 0.0], [2.0, 2.0, -2.0]]))
    True
    """
    sizes = np.abs(rows)
    level = sizes.max(axis=1, keepdims=True) * (1 - _TOLERANCE)
    return bool(np.all((sizes == 0) | (sizes >= level)))
