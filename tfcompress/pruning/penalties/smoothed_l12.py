"""The sum of the square roots of absolute values, smoothed at zero."""

import math

import keras

from tfcompress.core.kinds import Number
from tfcompress.core.nouns import Regularizer


class SmoothedL12(Regularizer):
    """`strength Σ_i sqrt(f(w_i))`, with a smooth approximation `f(w)` of `|w|`.

    `f(w) = |w|` for `|w| ≥ ε`, else `-w⁴ / 8ε³ + 3w² / 4ε + 3ε / 8`, which has the same
    value and slope at `ε`. The gradient is `strength f'(w_i) / (2 sqrt(f(w_i)))`: it is
    never infinite, and larger for small weights than for large ones, so that small ones
    vanish and large ones hardly change.

    The proximal step is that for `ε = 0`, half thresholding:
    `(2/3) w (1 + cos(2π/3 - (2/3) φ))` with `φ = arccos((c/4) (|w| / 3)^(-3/2))` and
    `c = step strength`, where `|w| > (3/2) c^(2/3)`, else 0.

    Args:
        strength: 0 or more.
        epsilon: `ε`, the magnitude below which it is smoothed, above 0.

    Raises:
        ValueError: if an argument is out of range.

    Source: Wu et al., "Batch gradient method with smoothing L1/2 regularization for
    training of feedforward neural networks" (2014), section 2; Chang et al., "Prune Deep
    Neural Networks With the Modified L1/2 Penalty" (2018); half thresholding as in Xu et
    al., "L1/2 Regularization: A Thresholding Representation Theory and a Fast Solver"
    (2012).

    Example:
        >>> float(SmoothedL12(0.5)(np.array([4.0, -9.0])))
        2.5
        >>> round(float(SmoothedL12(1.0, epsilon=0.08)(np.array([0.0]))), 4)
        0.1732
    """

    def __init__(
        self, strength: Number(0) = 1e-4, epsilon: Number(above=0, meaning="ε") = 0.01
    ):
        self.strength = strength
        self.epsilon = epsilon

    def __call__(self, weight):
        """The penalty."""
        size = keras.ops.abs(weight)
        # Beyond ε the polynomial is not used, and its fourth power would overflow.
        inner = keras.ops.minimum(size, self.epsilon) / self.epsilon
        smooth = self.epsilon * (3 / 8 + inner**2 * (3 / 4 - inner**2 / 8))
        size = keras.ops.where(size < self.epsilon, smooth, size)
        return self.strength * keras.ops.sum(keras.ops.sqrt(size))

    def proximal(self, weight, step):
        """Half thresholding."""
        threshold = step * self.strength
        size = keras.ops.abs(weight)
        stays = size > 1.5 * threshold ** (2 / 3)
        third = keras.ops.where(stays, size, 1.0) / 3
        ratio = keras.ops.minimum(threshold / 4 * third**-1.5, 1.0)
        angle = 2 / 3 * (math.pi - keras.ops.arccos(ratio))
        shrunk = 2 / 3 * weight * (1 + keras.ops.cos(angle))
        return keras.ops.where(stays, shrunk, keras.ops.zeros_like(weight))
