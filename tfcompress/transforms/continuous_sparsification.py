"""Masks that harden from a sigmoid into a step."""

import math

import numpy as np
import tensorflow as tf

from tfcompress.core.kinds import Number
from tfcompress.transforms.annealing import Annealed

# The slope at which the sigmoid is treated as a step.
_STEEPEST = 200.0


class ContinuousSparsification(Annealed):
    """Multiplies weights by trained sigmoids, which become steeper until they are steps.

    With the trained `v`, which starts at 0, and the progress `p` of
    `tfc.callbacks.Annealing`:

        y = w σ(β s) / σ(s_0),    s = s_0 + rate v,    β = 200^p

    and at `p = 1` exactly `y = w / σ(s_0)` where `s > 0`, else 0. The constant
    `1 / σ(s_0)` preserves the scale: nothing changes at first. The penalty
    `λ sum σ(β s)` is added to the loss. The number of weights that stay is not
    specified: they are those whose `s` the loss pulls above 0 before `β` is so large
    that no gradient is left. It depends on `s_0`, `rate` and the length of training;
    try a few values. With `Annealing(end_step=...)` at two thirds of the training, the
    remaining weights have time to recover.

    `v` must be excluded from weight decay: call
    `optimizer.exclude_from_weight_decay(var_names=["soft_mask"])` before training.

    Args:
        initial: `s_0`, usually -0.3 to 0.3; the lower, the fewer weights stay.
        penalty_weight: `λ`, at least 0.
        rate: factor, above 0, by which Adam trains `s` faster than other weights; with
            SGD the factor is its square.

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

        Pruned weights are so far below 0 that they hardly ever return; the rest starts
        again.
        """
        logits = np.minimum(self._steepness() * self._logits(), self.initial)
        self.soft_mask.assign((logits - self.initial) / self.rate)
        self.progress.assign(0)
