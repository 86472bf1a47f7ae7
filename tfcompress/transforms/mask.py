"""Zeros that stay zero."""

import keras
import numpy as np

from tfcompress.core.nouns import WeightTransform


class Mask(WeightTransform):
    """Keeps the weights where the mask is True and sets the others to zero.

    `y_i = w_i` if `m_i` else `0`, so that `dL/dw_i = m_i dL/dy_i`. The latent weight
    keeps its value and can grow back. Pruning methods assign `mask`; a weight that is
    already zero when compression starts stays zero, unless all of them are, as in a new
    bias.

    Attributes:
        mask: boolean variable of the weight's shape; True = keep.
        watch: a function `tensor -> tensor` applied to the masked weight in a training
            step; set by methods that need the gradient of masked weights, otherwise None.

    Source: Han et al., "Learning both Weights and Connections for Efficient Neural
    Networks" (2015), section 3.

    Example:
        >>> layer = keras.layers.Dense(1, use_bias=False); layer.build((None, 2))
        >>> _ = layer.kernel.assign([[3.0], [0.0]])
        >>> model = keras.Sequential([keras.Input((2,)), layer])
        >>> pruned = tfc.compress(model, {".*": "mask"})
        >>> pruned.layers[0].treatments[0].transforms[0].mask.numpy().ravel()
        array([ True, False])
    """

    watch = None

    def build(self, layer, weight, layout):
        """Creates the mask, all True."""
        self.mask = layer.add_weight(
            name=f"{weight.name}_mask",
            shape=weight.shape,
            dtype="bool",
            initializer="ones",
            trainable=False,
        )

    def refresh(self, weight):
        """Masks the zeros of a weight that has some, unless a mask is already set."""
        if self.mask.numpy().all() and weight.any():
            self.mask.assign(weight != 0)

    def __call__(self, weight, training=False):
        """`weight` where the mask is True, else 0; a product is faster than a selection."""
        masked = weight * keras.ops.cast(self.mask, weight.dtype)
        return self.watch(masked) if self.watch and training else masked

    def bake(self, weight):
        """The masked NumPy array."""
        return np.where(self.mask.numpy(), weight, np.zeros((), weight.dtype))
