"""Soft masks without additional parameters."""

import numpy as np
import tensorflow as tf

from tfcompress.core.kinds import Number
from tfcompress.transforms.annealing import Annealed, ramp


class PDP(Annealed):
    """Softly masks weights according to their distance from a threshold (PDP).

    With the threshold `t` below which a fraction `r` of the magnitudes lies:

        y = w m,    m = exp(w² / τ) / (exp(t² / τ) + exp(w² / τ))

    whose gradient, with `t` held constant, is

        dy/dw = m + 2 w² m (1 - m) / τ

    so that weights near the threshold are pushed away from it, and masked weights can
    return. At the progress `p` of `tfc.callbacks.Annealing`, `r` is
    `sparsity min(1, 3/2 p)`; `t` lies halfway between the weights that it separates,
    and is chosen again at each update of `p`. (The paper chooses it for each batch and
    lets gradients flow into the two weights.) At `p = 1` the mask is exactly
    `m = 1[|w| >= t]`.

    Args:
        sparsity: fraction of this weight that is removed at the end, in [0, 1).
        temperature: `τ`, above 0: how far from the threshold masks are soft, in units
            of squared weights.

    Attributes:
        threshold: variable `t`.

    Raises:
        ValueError: if an argument is out of range.

    Source: Cho et al., "PDP: Parameter-free Differentiable Pruning is All You Need"
    (2023), section 3.

    Example:
        >>> layer = keras.layers.Dense(1, use_bias=False); layer.build((None, 4))
        >>> _ = layer.kernel.assign([[1.0], [-3.0], [4.0], [-2.0]])
        >>> model = keras.Sequential([keras.Input((4,)), layer])
        >>> model = tfc.compress(model, {".*": PDP(0.5)})
        >>> annealing = tfc.callbacks.Annealing(end_step=9)
        >>> annealing.set_model(model); annealing.update(step=9)
        >>> tfc.strip(model).layers[0].kernel.numpy().ravel()
        array([ 0., -3.,  4.,  0.], dtype=float32)
    """

    def __init__(
        self, sparsity: Number(0, below=1) = 0.9, temperature: Number(above=0) = 1e-5
    ):
        self.sparsity = sparsity
        self.temperature = temperature

    def build(self, layer, weight, layout):
        """Creates the progress and the threshold."""
        super().build(layer, weight, layout)
        self.threshold = layer.add_weight(
            name=f"{weight.name}_threshold",
            shape=(),
            dtype=weight.dtype,
            initializer="zeros",
            trainable=False,
        )

    def advance(self, progress, weight):
        """Chooses the threshold."""
        super().advance(progress, weight)
        sparsity = self.sparsity * ramp(progress)
        self.threshold.assign(_threshold(np.abs(weight()), sparsity))

    def __call__(self, weight, training=False):
        """`y`."""
        threshold = tf.convert_to_tensor(self.threshold.value)
        distance = tf.square(weight) - tf.square(threshold)
        soft = weight * tf.sigmoid(distance / self.temperature)
        hard = tf.where(tf.abs(weight) >= threshold, weight, tf.zeros_like(weight))
        return tf.where(self.progress.value >= 1, hard, soft)


def _threshold(magnitudes, sparsity):
    """The midpoint between the magnitudes that go and those that stay.

    >>> float(_threshold(np.array([3.0, 1.0, 2.0, 5.0]), 0.5))
    2.5
    """
    flat = magnitudes.ravel()
    count = min(round(sparsity * flat.size), flat.size - 1)
    if count == 0:
        return 0.0
    parted = np.partition(flat, [count - 1, count])
    return (parted[count - 1] + parted[count]) / 2
