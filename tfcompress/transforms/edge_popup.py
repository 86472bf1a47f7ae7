"""Subnetworks of random networks, found with trained scores."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.kinds import Flag, Number
from tfcompress.transforms.scored_mask import ScoredMask
from tfcompress.transforms.signed_constant import signed_constant


class EdgePopup(ScoredMask):
    """Trains which of the weights stay and leaves their values unchanged.

    `y = c w m`, where `m` keeps the largest of the magnitudes `|S|` of trained scores,
    and `c = 1 / sqrt(1 - sparsity)` preserves the scale, or is 1. Gradient, straight
    through the choice: `dL/d|S| = c w dL/dy`. The weight has none: it keeps its random
    initial value. `tfc.callbacks.Annealing(frequency=1)` chooses the mask again for
    each batch, as the paper does; without a callback the first mask stays.

    Scores start uniformly random within `± 1 / sqrt(inputs)`.

    Args:
        sparsity: fraction of this weight to remove, in [0, 1); about 0.5 is best in the
            paper.
        signed_constant: whether elements are replaced with the standard deviation of
            the weight, with their own sign: one value per sign.
        rescale: whether `c` preserves the scale.

    Attributes:
        scores: variable `S`, of the weight's shape.
        mask: boolean variable `m`; True = keep.

    Raises:
        ValueError: if `sparsity` is out of range.

    Source: edge-popup: Ramanujan et al., "What's Hidden in a Randomly Weighted Neural
    Network?" (2020), sections 3 and 4.

    Example:
        >>> layer = keras.layers.Dense(1, use_bias=False); layer.build((None, 4))
        >>> _ = layer.kernel.assign([[1.0], [-3.0], [4.0], [-2.0]])
        >>> model = keras.Sequential([keras.Input((4,)), layer])
        >>> model = tfc.compress(model, {".*": EdgePopup(0.75)})
        >>> popup = model.layers[0].treatments[0].transforms[0]
        >>> _ = popup.scores.assign([[0.2], [0.1], [-0.3], [0.0]])
        >>> annealing = tfc.callbacks.Annealing(end_step=9)
        >>> annealing.set_model(model); annealing.update(step=9)
        >>> tfc.strip(model).layers[0].kernel.numpy().ravel()
        array([0., 0., 8., 0.], dtype=float32)
    """

    initializer = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")

    def __init__(
        self,
        sparsity: Number(0, below=1) = 0.5,
        signed_constant: Flag() = False,
        rescale: Flag() = True,
    ):
        self.sparsity = sparsity
        self.signed_constant = signed_constant
        self.rescale = rescale

    def build(self, layer, weight, layout):
        """Creates the state; the weight is no longer trained."""
        super().build(layer, weight, layout)
        weight.trainable = False

    def sparsity_at(self, progress):
        """The same sparsity from the start."""
        return self.sparsity

    def ranked(self):
        """`|S|`."""
        return tf.abs(super().ranked())

    def __call__(self, weight, training=False):
        """`y`."""
        weight = tf.convert_to_tensor(weight)
        if self.signed_constant:
            weight = signed_constant(weight)
        if self.rescale:
            weight = weight / np.sqrt(1 - self.sparsity).astype(weight.dtype.name)
        return super().__call__(weight, training)
