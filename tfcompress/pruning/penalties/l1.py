"""The sum of absolute values."""

import keras

from tfcompress.core.kinds import Number
from tfcompress.core.nouns import Regularizer


class L1(Regularizer):
    """`strength Σ_i |w_i|`.

    The gradient is `strength sign(w_i)`, 0 at 0; the proximal step
    `sign(w) max(|w| - step strength, 0)`.

    On the scales of batch normalization it is *network slimming*: channels whose scale
    became zero do nothing and can be cut, together with coupled ones, by
    `tfc.prune_channels(model, ratio, criterion="batch_norm_gamma",
    scope="global")`, which keeps at least one unit of each group. The rule `".*/gamma"`
    in the example covers all scales that a unit of coupled channels passes through.

    Args:
        strength: 0 or more. For slimming, 1e-4, or 1e-5 for residual networks.

    Raises:
        ValueError: if `strength` is negative.

    Source: Tibshirani, "Regression Shrinkage and Selection via the Lasso" (1996); Liu et
    al., "Learning Efficient Convolutional Networks through Network Slimming" (2017),
    section 3.

    Example:
        >>> float(L1(0.5)(np.array([[2.0, -4.0]])))
        3.0
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4),
        ...     keras.layers.BatchNormalization()])
        >>> slim = tfc.compress(model, {".*/gamma": tfc.transforms.Penalty(L1(1e-4))})
        >>> round(float(slim.losses[0]), 6)
        0.0004
    """

    def __init__(self, strength: Number(0) = 1e-4):
        self.strength = strength

    def __call__(self, weight):
        """The penalty."""
        return self.strength * keras.ops.sum(keras.ops.abs(weight))

    def proximal(self, weight, step):
        """Soft thresholding."""
        size = keras.ops.relu(keras.ops.abs(weight) - step * self.strength)
        return keras.ops.sign(weight) * size
