"""Masks that harden from a sigmoid to a step."""

import math

import numpy as np
import tensorflow as tf

from tfcompress.core.kinds import Number
from tfcompress.transforms.annealing import Annealed

# The slope at which the sigmoid is taken for a step.
_STEEPEST = 200.0


class ContinuousSparsification(Annealed):
    """Multiplies weights by sigmoids that are trained, and steepened until they are steps.

    With the trained `v`, which starts at 0, and the progress `p` of
    `tfc.callbacks.Annealing`:

        y = w σ(β s) / σ(s_0),    s = s_0 + rate v,    β = 200^p

    and at `p = 1` exactly `y = w / σ(s_0)` where `s > 0`, else 0. The constant `1 / σ(s_0)`
    keeps the scale: nothing changes at first. The loss gets `λ sum σ(β s)`. How many
    weights stay is not asked for: those whose `s` the loss pulls above 0 before `β` is so
    large that it has no gradient left. It follows from `s_0` and `rate`, and from how long
    the training is; try a few. With `Annealing(end_step=...)` at two thirds of the training
    the weights that stay have time to recover.

    `v` must be spared weight decay: `optimizer.exclude_from_weight_decay(var_names=
    ["soft_mask"])` before the training.

    Args:
        initial: `s_0`, usually -0.3 to 0.3; the lower, the fewer weights stay.
        penalty_weight: `λ`, at least 0.
        rate: how many times as fast as other weights `s` is trained by Adam, above 0; by
            SGD its square.

    Attributes:
        soft_mask: variable `v`, of the weight's shape.

    Raises:
        ValueError: if an argument is out of range.

    Source: Savarese et al., "Winning the Lottery with Continuous Sparsification" (2020),
    section 4.

    Example:
        >>> layer = keras.layers.Dense(1, use_bias=False); layer.build((None, 2))
        >>> _ = layer.kernel.assign([[2.0], [3.0]])
        >>> model = keras.Sequential([keras.Input((2,)), layer])
        >>> model = tfc.compress(model, {".*": ContinuousSparsification(0.0)})
        >>> mask = model.layers[0].treatments[0].transforms[0]
        >>> _ = mask.soft_mask.assign([[0.1], [-0.1]])
        >>> annealing = tfc.callbacks.Annealing(end_step=9)
        >>> annealing.set_model(model); annealing.update(step=9)
        >>> tfc.strip(model).layers[0].kernel.numpy().ravel()
        array([4., 0.], dtype=float32)
    """

    def __init__(
        self,
        initial: Number() = 0.0,
        penalty_weight: Number(0) = 1e-8,
        rate: Number(above=0) = 1.0,
    ):
        self.initial = initial
        self.penalty_weight = penalty_weight
        self.rate = rate

    def build(self, layer, weight, layout):
        """Creates the progress and the soft mask."""
        super().build(layer, weight, layout)
        self.soft_mask = layer.add_weight(
            name=f"{weight.name}_soft_mask",
            shape=weight.shape,
            dtype=weight.dtype,
            initializer="zeros",
            trainable=True,
        )

    def _logits(self):
        """`s`."""
        return self.initial + self.rate * tf.convert_to_tensor(self.soft_mask.value)

    def _steepness(self):
        """`β`."""
        return _STEEPEST ** tf.convert_to_tensor(self.progress.value)

    def __call__(self, weight, training=False):
        """`y`."""
        logits = self._logits()
        scaled = weight * (1 + math.exp(-self.initial))
        soft = scaled * tf.sigmoid(self._steepness() * logits)
        hard = tf.where(logits > 0, scaled, tf.zeros_like(scaled))
        return tf.where(self.progress.value >= 1, hard, soft)

    def penalty(self):
        """`λ sum σ(β s)`."""
        soft = tf.sigmoid(self._steepness() * self._logits())
        return self.penalty_weight * tf.reduce_sum(soft)

    def next_round(self):
        """Softens the mask again: `s = min(β s, s_0)`, `β = 1`.

        What was pruned is so far below 0 that it hardly comes back; the rest starts anew.
        """
        logits = np.minimum(self._steepness() * self._logits(), self.initial)
        self.soft_mask.assign((logits - self.initial) / self.rate)
        self.progress.assign(0)
