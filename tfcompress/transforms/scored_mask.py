"""Masks that keep the weights with the highest trained scores."""

import numpy as np
import tensorflow as tf

from tfcompress.core.nouns import top
from tfcompress.transforms.annealing import Annealed


class ScoredMask(Annealed):
    """Keeps the weights with the highest trained scores.

    `y = w m` with a mask that `advance` chooses: exactly as many weights stay as are
    due at that progress. Gradients: `dL/dw = m dL/dy` and, straight through the choice,
    `dL/dS = w dL/dy`, also for masked weights.

    Attributes:
        scores: trained variable `S`, of the weight's shape.
        mask: boolean variable `m`; True = keep.
    """

    # The initializer of the scores.
    initializer = "zeros"

    def build(self, layer, weight, layout):
        """Creates the progress, the scores and the mask."""
        super().build(layer, weight, layout)
        self.scores = layer.add_weight(
            name=f"{weight.name}_scores",
            shape=weight.shape,
            dtype=weight.dtype,
            initializer=self.initializer,
            trainable=True,
        )
        self.mask = layer.add_weight(
            name=f"{weight.name}_mask",
            shape=weight.shape,
            dtype="bool",
            initializer="ones",
            trainable=False,
        )
        self.choose(progress=0.0)

    def sparsity_at(self, progress):
        """The fraction removed at a progress."""
        raise NotImplementedError

    def ranked(self):
        """A tensor computed from the scores, whose highest values are kept."""
        return tf.convert_to_tensor(self.scores.value)

    def choose(self, progress):
        """Chooses the mask again."""
        ranked = self.ranked().numpy()
        count = round((1 - self.sparsity_at(progress)) * ranked.size)
        self.mask.assign(top(ranked, max(1, count)))

    def advance(self, progress, weight):
        """Sets the progress and chooses its mask."""
        super().advance(progress, weight)
        self.choose(progress)

    def __call__(self, weight, training=False):
        """`y`."""
        weight = tf.convert_to_tensor(weight)
        mask = tf.cast(self.mask.value, weight.dtype)
        return straight_mask(weight, self.ranked(), mask)

    def bake(self, weight):
        """The masked NumPy array, without negative zeros."""
        return super().bake(weight) + np.zeros((), weight.dtype)


def straight_mask(weight, scores, mask):
    """`w m`, whose gradient passes from the mask straight to the scores.

    Source: Bengio et al., "Estimating or Propagating Gradients Through Stochastic
    Neurons for Conditional Computation" (2013).
    """

    @tf.custom_gradient
    def forward(weight, scores):
        return weight * mask, lambda upstream: (upstream * mask, upstream * weight)

    return forward(weight, scores)
