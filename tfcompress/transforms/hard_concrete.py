"""Gates that are exactly open or closed, trained by gradients (L0)."""

import math

import keras
import tensorflow as tf

from tfcompress.core.kinds import Integer, Number
from tfcompress.transforms.drawn import Drawn

_BETA, _LOW, _HIGH = 2 / 3, -0.1, 1.1
_SHIFT = _BETA * math.log(-_LOW / _HIGH)
_MOST_LOG_ALPHA = math.log(100)
# Distance of uniform draws from 0 and from 1.
_MARGIN = 1e-6


class HardConcrete(Drawn):
    """Multiplies each weight by a gate from 0 to 1, and penalizes gates that are not 0.

    With a trained `log α` for each weight, in training

        s = sigmoid((log u - log(1 - u) + log α) / β),  u uniform in (0, 1)
        z = clip(s (ζ - γ) + γ, 0, 1),    y = w z

    with `β = 2/3`, `γ = -0.1`, `ζ = 1.1`; at inference `s` is `sigmoid(log α)`. The
    penalty is the expected number of gates that are not 0,

        strength weights_per_gate sum(P(z > 0)),
        P(z > 0) = sigmoid(log α - β log(-γ / ζ))

    Gradients are those of the formulas; `log α` stays within ±log(100).

    For the loss of the paper, which is `λ / N` per weight with `N` training samples,
    set `strength` to `λ / N`. On the `scale` of the gates of `tfc.gate_channels`, a
    gate controls a whole channel, and each example has its own draws.

    Args:
        strength: strength of the penalty, at least 0, in units of the loss per weight.
        weights_per_gate: the number of weights that a gate controls, at least 1.
        initial_rate: initial probability that a gate is not open, in (0, 1):
            `log α = log((1 - rate) / rate)`. At 0.05 a trained network starts almost
            unchanged, but its gates close later.
        seed: integer seed for the draws; by default it is itself random, from the
            generator that `keras.utils.set_random_seed` seeds.

    Attributes:
        log_alpha: variable of the weight's shape.

    Raises:
        ValueError: if an argument is out of range.

    Source: Louizos et al., "Learning Sparse Neural Networks through L0 Regularization"
    (2018), equations 10 to 13.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        >>> model = tfc.compress(model, {".*": HardConcrete(strength=0.5)})
        >>> gates = model.layers[0].treatments[0].transforms[0]
        >>> _ = gates.log_alpha.assign([[-3.0], [0.0], [3.0], [-4.0]])
        >>> gates.gate().numpy().ravel()
        array([0. , 0.5, 1. , 0. ], dtype=float32)
    """

    def __init__(
        self,
        strength: Number(0) = 1e-5,
        weights_per_gate: Integer(1) = 1,
        initial_rate: Number(above=0, below=1) = 0.5,
        seed: Integer(0) = None,
    ):
        self.strength = strength
        self.weights_per_gate = weights_per_gate
        self.initial_rate = initial_rate
        self.seed = seed

    @property
    def penalty_weight(self):
        """The cost of an open gate."""
        return self.strength * self.weights_per_gate

    def build(self, layer, weight, layout):
        """Creates `log α`."""
        super().build(layer, weight, layout)
        value = math.log((1 - self.initial_rate) / self.initial_rate)
        self.log_alpha = self.add_trained(layer, "log_alpha", value, _bounded)

    def gate(self):
        """The gates at inference."""
        return _stretched(tf.sigmoid(self.log_alpha.value))

    def open_probability(self):
        """`P(z > 0)` of each gate."""
        return tf.sigmoid(self.log_alpha.value - _SHIFT)

    def __call__(self, weight, training=False):
        """The weight times its gates."""
        weight = tf.convert_to_tensor(weight)
        if not training:
            return weight * self.gate()
        u = keras.random.uniform(
            tf.shape(weight),
            _MARGIN,
            1 - _MARGIN,
            dtype=weight.dtype,
            seed=self.seed_generator,
        )
        noise = tf.math.log(u) - tf.math.log1p(-u)
        return weight * _stretched(tf.sigmoid((noise + self.log_alpha.value) / _BETA))

    def cost(self, weight):
        """The expected number of open gates."""
        return tf.reduce_sum(self.open_probability())


def _stretched(s):
    return tf.clip_by_value(s * (_HIGH - _LOW) + _LOW, 0.0, 1.0)


def _bounded(log_alpha):
    return keras.ops.clip(log_alpha, -_MOST_LOG_ALPHA, _MOST_LOG_ALPHA)
