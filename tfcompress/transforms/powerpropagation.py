"""Weights that grow in proportion to their size."""

import numpy as np
import tensorflow as tf

from tfcompress.core.kinds import Number
from tfcompress.core.nouns import WeightTransform


class Powerpropagation(WeightTransform):
    """Trains a root of each weight, so that large weights change more and small ones less.

    `w = θ |θ|^(α - 1)`, so that `dL/dθ = α |θ|^(α - 1) dL/dw`. `θ` starts as
    `sign(w) |w|^(1/α)`: nothing changes at first. Small weights stay small, and far
    more weights end near zero, where magnitude pruning finds them: put a `Mask` after
    it, whose scores are those of `w`. A weight that is exactly zero stays zero.

    It comes first in a list. The larger `α`, the lower the best learning rate for SGD;
    Adam's need not change.

    Args:
        alpha: `α`, 1 or more; 1 changes nothing, 2 to 4 are usual.

    Raises:
        ValueError: if `alpha` is below 1.

    Source: Schwarz et al., "Powerpropagation: A sparsity inducing weight
    reparameterisation" (2021), section 2.

    Example:
        >>> layer = keras.layers.Dense(1, use_bias=False); layer.build((None, 2))
        >>> _ = layer.kernel.assign([[0.25], [-4.0]])
        >>> model = keras.Sequential([keras.Input((2,)), layer])
        >>> model = tfc.compress(model, {".*": [Powerpropagation(2), "mask"]})
        >>> model.layers[0].layer.kernel.numpy().ravel()
        array([ 0.5, -2. ], dtype=float32)
        >>> tfc.strip(model).layers[0].kernel.numpy().ravel()
        array([ 0.25, -4.  ], dtype=float32)
    """

    def __init__(self, alpha: Number(1) = 2.0):
        self.alpha = alpha

    def latent(self, weight):
        """`θ`."""
        return (np.sign(weight) * np.abs(weight) ** (1 / self.alpha)).astype(
            weight.dtype
        )

    def __call__(self, weight, training=False):
        """`w`."""

        # The chain rule through |θ| is undefined at 0.
        @tf.custom_gradient
        def power(theta):
            factor = tf.abs(theta) ** (self.alpha - 1)
            return theta * factor, lambda upstream: upstream * self.alpha * factor

        return power(tf.convert_to_tensor(weight))
