"""Movement pruning with a sparsity determined by a penalty."""

import numpy as np
import tensorflow as tf

from tfcompress.core.kinds import Number
from tfcompress.transforms.annealing import Annealed, ramp
from tfcompress.transforms.scored_mask import straight_mask


class SoftMovement(Annealed):
    """Masks the weights whose trained scores fall below a threshold.

    `y = w m` with `m = 1[σ(S) >= t]` and the trained scores `S`, which start at 0.
    Gradients: `dL/dw = m dL/dy` and, straight through the threshold, `dL/dS = w dL/dy`.
    The penalty `λ sum σ(S)` is added to the loss and pulls all scores down: `λ`
    determines how many weights stay, and each layer finds its own share. (The paper
    uses the mean over all weights of the model instead of the sum.) At the progress `p`
    of `tfc.callbacks.Annealing`, the threshold is `t = threshold min(1, 3/2 p)`.

    Args:
        threshold: the value of `σ(S)` below which a weight is removed, in (0, 1).
        penalty_weight: `λ`, at least 0.

    Attributes:
        scores: variable `S`, of the weight's shape.

    Raises:
        ValueError: if an argument is out of range.

    Source: Sanh et al., "Movement Pruning: Adaptive Sparsity by Fine-Tuning" (2020),
    section 4, soft movement pruning.

    Example:
        >>> layer = keras.layers.Dense(1, use_bias=False); layer.build((None, 4))
        >>> _ = layer.kernel.assign([[1.0], [-3.0], [4.0], [-2.0]])
        >>> model = keras.Sequential([keras.Input((4,)), layer])
        >>> model = tfc.compress(model, {".*": SoftMovement(0.5)})
        >>> movement = model.layers[0].treatments[0].transforms[0]
        >>> _ = movement.scores.assign([[0.2], [0.1], [-0.3], [0.0]])
        >>> annealing = tfc.callbacks.Annealing(end_step=9)
        >>> annealing.set_model(model); annealing.update(step=9)
        >>> tfc.strip(model).layers[0].kernel.numpy().ravel()
        array([ 1., -3.,  0., -2.], dtype=float32)
    """

    def __init__(
        self,
        threshold: Number(above=0, below=1) = 0.1,
        penalty_weight: Number(0) = 1e-4,
    ):
        self.threshold = threshold
        self.penalty_weight = penalty_weight

    def build(self, layer, weight, layout):
        """Creates the progress, the scores and the current threshold."""
        super().build(layer, weight, layout)
        self.scores = layer.add_weight(
            name=f"{weight.name}_scores",
            shape=weight.shape,
            dtype=weight.dtype,
            initializer="zeros",
            trainable=True,
        )
        self.due = layer.add_weight(
            name=f"{weight.name}_threshold",
            shape=(),
            dtype=weight.dtype,
            initializer="zeros",
            trainable=False,
        )

    def advance(self, progress, weight):
        """Raises the threshold."""
        super().advance(progress, weight)
        self.due.assign(self.threshold * ramp(progress))

    def _probability(self):
        return tf.sigmoid(tf.convert_to_tensor(self.scores.value))

    def __call__(self, weight, training=False):
        """`y`."""
        weight = tf.convert_to_tensor(weight)
        due = tf.convert_to_tensor(self.due.value)
        mask = tf.cast(self._probability() >= due, weight.dtype)
        return straight_mask(weight, tf.convert_to_tensor(self.scores.value), mask)

    def penalty(self):
        """`λ sum σ(S)`."""
        return self.penalty_weight * tf.reduce_sum(self._probability())

    def bake(self, weight):
        """The masked NumPy array, without negative zeros."""
        return super().bake(weight) + np.zeros((), weight.dtype)
