"""A policy that sees the weights of channels and decides which stay."""

import keras
import numpy as np
import scipy.special
import tensorflow as tf

_FEATURES, _WIDTH = 16, 64
_RATE = 5e-3


class ChannelPolicy:
    """A Bernoulli variable for each channel, with even odds at first.

        π(A | W) = Π_j p_j^{A_j} (1 - p_j)^{1 - A_j},    p = sigmoid(f_θ(W))

    with a network `f` of three layers: one that is shared by all channels, and two that see
    all channels.

    Args:
        rows: array `(channels, weights)`, the weights that produce each channel.
        seed: seed of the network and of samples.
    """

    def __init__(self, rows, seed):
        self._rows = tf.constant(rows[None])
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
        return self._network(self._rows)[0]

    def _train_on(self, actions, advantages):
        variables = self._network.trainable_variables
        with tf.GradientTape() as tape:
            logits = tf.broadcast_to(self._logits(), tf.shape(actions))
            surprise = tf.nn.sigmoid_cross_entropy_with_logits(actions, logits)
            loss = tf.reduce_mean(advantages * tf.reduce_sum(surprise, axis=1))
        gradients = tape.gradient(loss, [v.value for v in variables])
        self._optimizer.apply(gradients, variables)


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
            # At first all channels have the same odds, whatever their weights.
            keras.layers.Dense(shape[0], kernel_initializer="zeros"),
        ]
    )
