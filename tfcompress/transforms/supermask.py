"""Subnetworks of random networks, found with trained probabilities."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.kinds import Flag, Integer
from tfcompress.core.nouns import WeightTransform
from tfcompress.transforms.drawn import add_seed_generator
from tfcompress.transforms.scored_mask import straight_mask
from tfcompress.transforms.signed_constant import signed_constant


class Supermask(WeightTransform):
    """Trains the probabilities with which weights stay and leaves their values unchanged.

    In training the mask is drawn, `m ~ Bernoulli(σ(S))` with the trained `S`, which
    start at 0; inference keeps weights with a probability of at least one half:

        y = c w m,    c = n / n_kept if rescaled (DWR), else 1

    for `n` weights of which the mask keeps `n_kept`. Gradient, straight through the
    draw: `dL/dS = c w σ(S) (1 - σ(S)) dL/dy`. The weight has none: it keeps its random
    initial value. Gradients are so small that the paper trains with SGD at a learning
    rate of 100; `EdgePopup` is the better method.

    Args:
        signed_constant: whether elements are replaced with the standard deviation of
            the weight, with their own sign: one value per sign.
        rescale: whether `c` compensates for removed weights.
        seed: integer seed for the draws; by default it is itself random, from the
            generator that `keras.utils.set_random_seed` seeds.

    Attributes:
        scores: variable `S`, of the weight's shape.
        seed_generator: `keras.random.SeedGenerator`, whose state is the layer's.

    Raises:
        ValueError: if `seed` is not an integer of at least 0.

    Source: Zhou et al., "Deconstructing Lottery Tickets: Zeros, Signs, and the Supermask"
    (2019), section 5.

    Example:
        >>> layer = keras.layers.Dense(1, use_bias=False); layer.build((None, 4))
        >>> _ = layer.kernel.assign([[1.0], [-3.0], [4.0], [-2.0]])
        >>> model = keras.Sequential([keras.Input((4,)), layer])
        >>> model = tfc.compress(model, {".*": Supermask()})
        >>> supermask = model.layers[0].treatments[0].transforms[0]
        >>> _ = supermask.scores.assign([[-2.0], [1.0], [-0.3], [3.0]])
        >>> tfc.strip(model).layers[0].kernel.numpy().ravel()
        array([ 0., -6.,  0., -4.], dtype=float32)
    """

    def __init__(
        self,
        signed_constant: Flag() = False,
        rescale: Flag() = True,
        seed: Integer(0) = None,
    ):
        self.signed_constant = signed_constant
        self.rescale = rescale
        self.seed = seed

    def build(self, layer, weight, layout):
        """Creates the scores and the random state; the weight is not trained."""
        weight.trainable = False
        self.scores = layer.add_weight(
            name=f"{weight.name}_scores",
            shape=weight.shape,
            dtype=weight.dtype,
            initializer="zeros",
            trainable=True,
        )
        self.seed_generator = add_seed_generator(layer, self.seed)

    def __call__(self, weight, training=False):
        """`y`."""
        weight = tf.convert_to_tensor(weight)
        if self.signed_constant:
            weight = signed_constant(weight)
        probability = tf.sigmoid(tf.convert_to_tensor(self.scores.value))
        level = 0.5
        if training:
            level = keras.random.uniform(
                weight.shape, dtype=weight.dtype, seed=self.seed_generator
            )
        mask = tf.cast(probability >= level, weight.dtype)
        if self.rescale:
            weight = tf.math.divide_no_nan(weight, tf.reduce_mean(mask))
        return straight_mask(weight, probability, mask)

    def bake(self, weight):
        """The masked NumPy array, without negative zeros."""
        return super().bake(weight) + np.zeros((), weight.dtype)
