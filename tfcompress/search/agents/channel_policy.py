"""A policy that sees the weights of channels and decides which stay."""

import keras
import numpy as np
import scipy.special
import tensorflow as tf

_FEATURES, _WIDTH = 16, 64
_RATE = 5e-3
# Keeps channels of zeros, and those of equal norms, finite.
_LEAST_NORM = 1e-6


class ChannelPolicy:
    """A Bernoulli variable for each channel.

        π(A | W) = Π_j p_j^{A_j} (1 - p_j)^{1 - A_j},    p = sigmoid(f_θ(W) + z / 2)

    with a network `f` of three layers: one that is shared by all channels, and two that see
    all channels. It starts at zero, so that channels are more or less likely to stay at
    first as their logarithmic norms `z` are large or small (mean 0, standard deviation 1).

    Args:
        rows: array `(channels, weights)`, the weights that produce each channel.
        seed: seed of the network and of samples.
    """

    def __init__(self, rows, seed):
        self._rows = tf.constant(rows[None])
        self._start = tf.constant(_standard_norms(rows) / 2, tf.float32)
        self._random = np.random.default_rng(seed)
        self._network = _network(rows.shape, seed)
        self._optimizer = keras.optimizers.Adam(_RATE)
        self._optimizer.build(self._network.trainable_variables)
        self._train = tf.function(self._train_on)

    def probabilities(self):
        """The probability that each channel stays."""
        return scipy.special.expit(np.float64(self._logits()))

    def sample(self, count):
        """Actions, an array `(count, channels)` of zeros and ones."""
        probabilities = self.probabilities()
        drawn = self._random.random((count, probabilities.size))
        return np.float32(drawn < probabilities)

    def reinforce(self, actions, advantages):
        """One step that makes actions more likely the more they exceed the expected reward.

            minimise  - 1/M Σ_i (R(A_i) - R(Â)) log π(A_i | W)

        Args:
            actions: `(M, channels)`.
            advantages: `(M,)`, `R(A_i) - R(Â)`.
        """
        self._train(tf.constant(actions), tf.constant(np.float32(advantages)))

    def _logits(self):
        return self._start + self._network(self._rows)[0]

    def _train_on(self, actions, advantages):
        variables = self._network.trainable_variables
        with tf.GradientTape() as tape:
            logits = tf.broadcast_to(self._logits(), tf.shape(actions))
            surprise = tf.nn.sigmoid_cross_entropy_with_logits(actions, logits)
            loss = tf.reduce_mean(advantages * tf.reduce_sum(surprise, axis=1))
        gradients = tape.gradient(loss, [v.value for v in variables])
        self._optimizer.apply(gradients, variables)


def _standard_norms(rows):
    norms = np.log(np.linalg.norm(np.float64(rows), axis=1) + _LEAST_NORM)
    return (norms - norms.mean()) / max(norms.std(), _LEAST_NORM)


def _network(shape, seed):
    def dense(units, place):
        kernel = keras.initializers.GlorotUniform(seed + place)
        return keras.layers.Dense(units, "relu", kernel_initializer=kernel)

    return keras.Sequential(
        [
            keras.Input(shape),
            dense(_FEATURES, 0),
            keras.layers.Flatten(),
            dense(_WIDTH, 1),
            keras.layers.Dense(shape[0], kernel_initializer="zeros"),
        ]
    )
