"""Noise on each weight, as large as possible; weights that are only noise are removed."""

import math

import tensorflow as tf

from tfcompress.core.kinds import Integer, Number
from tfcompress.transforms.drawn import Normal

# Coefficients of the approximate divergence.
_K1, _K2, _K3 = 0.63576, 1.87320, 1.48695
_MOST_LOG_ALPHA = 8.0
_TINY = 1e-8


def log_uniform_divergence(log_alpha):
    """Divergence of a normal `N(w, α w²)` from the log-uniform prior, up to a constant.

        KL = k1 (1 - sigmoid(k2 + k3 log α)) + log(1 + 1 / α) / 2

    Args:
        log_alpha: tensor.

    Returns:
        A tensor of the same shape, 0 for infinite noise.

    Source: Molchanov et al. (2017), equation 14.
    """
    rest = tf.sigmoid(-_K2 - _K3 * log_alpha)
    return _K1 * rest + tf.nn.softplus(-log_alpha) / 2


class SparseVariationalDropout(Normal):
    """Learns how much noise each weight tolerates, and cuts weights that are only noise.

    Weights are normally distributed with mean `w` and a trained variance `σ²`,

        log α = clip(log σ² - log w², -8, 8)
        mean  = w where log α <= threshold, else 0,    variance = α w²

    and inference uses the mean. Dense and convolution layers draw their outputs
    (`tfcompress.core.drawn`), other layers one weight per batch. The penalty is the
    divergence from the log-uniform prior `p(|w|) ~ 1 / |w|`,

        kl_weight / num_samples sum(k1 (1 - sigmoid(k2 + k3 log α)) + log(1 + 1/α) / 2)

    with `k = 0.63576, 1.87320, 1.48695`. The loss must be a mean over examples. Let the
    penalty grow (`tfc.callbacks.PenaltyWarmup`), and train for long: 100 epochs or more.

    Args:
        num_samples: number of training samples.
        threshold: `log α`, in [-8, 8], above which a weight is 0; at 3, 95 % of it is
            noise.
        kl_weight: weight of the divergence, at least 0; 1 for the bound on the likelihood.
        initial_log_variance: initial `log σ²`.
        seed: integer seed for the draws; by default it is itself random, from the
            generator that `keras.utils.set_random_seed` seeds.

    Attributes:
        log_variance: variable of the weight's shape.

    Raises:
        ValueError: if an argument is out of range.

    Source: Molchanov et al., "Variational Dropout Sparsifies Deep Neural Networks"
    (2017), sections 4.2 to 4.4.

    Example:
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> _ = model.layers[0].kernel.assign([[1.0], [0.1], [0.01]])
        >>> dropout = SparseVariationalDropout(num_samples=100, initial_log_variance=-5.0)
        >>> tfc.strip(tfc.compress(model, {".*": dropout})).layers[0].kernel.numpy()
        array([[1. ], [0.1], [0. ]], dtype=float32)
    """

    def __init__(
        self,
        num_samples: Integer(1),
        threshold: Number(-8, 8) = 3.0,
        kl_weight: Number(0) = 1.0,
        initial_log_variance: Number() = -10.0,
        seed: Integer(0) = None,
    ):
        self.num_samples = num_samples
        self.threshold = threshold
        self.kl_weight = kl_weight
        self.initial_log_variance = initial_log_variance
        self.seed = seed

    def build(self, layer, weight, layout):
        """Creates `log σ²`."""
        super().build(layer, weight, layout)
        value = self.initial_log_variance
        self.log_variance = self.add_trained(layer, "log_variance", value)

    def log_alpha(self, weight):
        """`log α` of each weight."""
        log_square = tf.math.log(tf.square(weight) + _TINY)
        ratio = self.log_variance.value - log_square
        return tf.clip_by_value(ratio, -_MOST_LOG_ALPHA, _MOST_LOG_ALPHA)

    def mean(self, weight):
        """The weights that are more than noise."""
        # Like log α, but without logarithms, which are slow.
        most = math.exp(self.threshold) * (tf.square(weight) + _TINY)
        is_kept = tf.exp(self.log_variance.value) <= most
        return tf.where(is_kept, weight, tf.zeros_like(weight))

    def moments(self, weight):
        """The mean, and the variance of all weights; noise may decrease again."""
        square = tf.square(weight)
        variance = tf.maximum(
            tf.exp(self.log_variance.value), math.exp(-_MOST_LOG_ALPHA) * square
        )
        variance = tf.minimum(variance, math.exp(_MOST_LOG_ALPHA) * square)
        return self.mean(weight), variance

    def cost(self, weight):
        """The divergence from the prior."""
        return tf.reduce_sum(log_uniform_divergence(self.log_alpha(weight)))
