"""Multiplicative log-normal noise, as large as possible."""

import math

import keras
import tensorflow as tf

from tfcompress.core.kinds import Integer, Number
from tfcompress.transforms.drawn import Drawn

# The range of log θ.
_LOWEST, _HIGHEST = -20.0, 0.0
_LIMITS_OF_MU = (-20.0, 5.0)
_LIMITS_OF_LOG_SIGMA = (-20.0, 5.0)
# Margin of the quantiles that are drawn, from 0 and from 1.
_MARGIN = 1e-5
_LOG_ROOT_2_PI = 0.5 * math.log(2 * math.pi)
_ROOT_HALF = math.sqrt(0.5)
# Below it, the series is as accurate as float32.
_FAR = -10.0


class LogNormal(Drawn):
    """Multiplies by learned noise between 0 and 1, and cuts what is mostly noise.

    `y = w θ`, where `log θ` is normal with a trained mean `μ` and deviation `σ`,
    truncated to [-20, 0]. In training, `θ` is drawn; at inference

        y = w E[θ]  if  E[θ] / sqrt(Var[θ]) > 1,  else 0

    The penalty is the divergence from the prior `p(θ) ~ 1 / θ` on the same interval. With
    `a = (-20 - μ) / σ`, `b = -μ / σ`, the density `φ` and the distribution function `Φ` of
    the standard normal, and `Z = Φ(b) - Φ(a)`, it is

        kl_weight / num_samples sum(
            log 20 - log(sqrt(2 π e) σ Z) - (a φ(a) - b φ(b)) / (2 Z))
        E[θ^k] = exp(k μ + k² σ² / 2) (Φ(b - k σ) - Φ(a - k σ)) / Z

    For the `scale` of the gates of `tfc.gate_channels`: each example has its own draws.
    Start from a trained network; the loss must be a mean over examples.

    Args:
        num_samples: number of training samples.
        kl_weight: weight of the divergence, at least 0; 1 for the bound on the
            likelihood, larger values remove more.
        initial_log_deviation: initial `log σ`, in [-20, 5]; `μ` starts at 0.
        seed: integer seed for the draws; by default it is itself random, from the
            generator that `keras.utils.set_random_seed` seeds.

    Attributes:
        mu: variable of the weight's shape.
        log_sigma: variable of the weight's shape.

    Raises:
        ValueError: if an argument is out of range.

    Source: Neklyudov et al., "Structured Bayesian Pruning via Log-Normal Multiplicative
    Noise" (2017), section 3.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a"),
        ...     keras.layers.Dense(2)])
        >>> model = tfc.gate_channels(model)
        >>> model = tfc.compress(model, {"gate_.*/scale": LogNormal(num_samples=100)})
        >>> noise = model.get_layer("gate_a").treatments[0].transforms[0]
        >>> _ = noise.log_sigma.assign([-5.0, 3.0, -5.0])
        >>> tfc.shrink(model).layers[1].units
        2
    """

    def __init__(
        self,
        num_samples: Integer(1),
        kl_weight: Number(0) = 1.0,
        initial_log_deviation: Number(-20, 5) = -5.0,
        seed: Integer(0) = None,
    ):
        self.num_samples = num_samples
        self.kl_weight = kl_weight
        self.initial_log_deviation = initial_log_deviation
        self.seed = seed

    def build(self, layer, weight, layout):
        """Creates `μ` and `log σ`."""
        super().build(layer, weight, layout)
        self.mu = self.add_trained(layer, "mu", 0.0, _clipped(*_LIMITS_OF_MU))
        self.log_sigma = self.add_trained(
            layer,
            "log_sigma",
            self.initial_log_deviation,
            _clipped(*_LIMITS_OF_LOG_SIGMA),
        )

    def _mu_and_sigma(self):
        """In double precision, since the closed forms subtract large numbers."""
        mu, log_sigma = (
            tf.cast(value, tf.float64)
            for value in (self.mu.value, self.log_sigma.value)
        )
        return mu, tf.exp(log_sigma)

    def gate(self):
        """The factor used for `θ` at inference."""
        mu, sigma = self._mu_and_sigma()
        log_mean = log_moment(mu, sigma, 1)
        # Var / E² = E[θ²] / E[θ]² - 1
        is_signal = log_moment(mu, sigma, 2) - 2 * log_mean < math.log(2)
        gate = tf.where(is_signal, tf.exp(log_mean), tf.zeros_like(mu))
        return tf.cast(gate, self.mu.dtype)

    def __call__(self, weight, training=False):
        """The weight times its noise."""
        weight = tf.convert_to_tensor(weight)
        if not training:
            return weight * self.gate()
        mu, sigma = self._mu_and_sigma()
        u = keras.random.uniform(tf.shape(weight), seed=self.seed_generator)
        ends = (tf.exp(log_ndtr((end - mu) / sigma)) for end in (_LOWEST, _HIGHEST))
        low, high, mu, sigma = (tf.cast(x, u.dtype) for x in (*ends, mu, sigma))
        quantile = tf.clip_by_value(low + (high - low) * u, _MARGIN, 1 - _MARGIN)
        log_theta = mu + sigma * tf.math.ndtri(quantile)
        theta = tf.exp(tf.clip_by_value(log_theta, _LOWEST, _HIGHEST))
        return weight * tf.cast(theta, weight.dtype)

    def cost(self, weight):
        """The divergence from the prior."""
        total = tf.reduce_sum(divergence(*self._mu_and_sigma()))
        return tf.cast(total, self.mu.dtype)


def divergence(mu, sigma):
    """Divergence of the truncated log-normals from the prior, tensors like `mu`."""
    a, b = (_LOWEST - mu) / sigma, (_HIGHEST - mu) / sigma
    log_z = _log_mass(a, b)
    slope = sum(
        sign * end * tf.exp(-tf.square(end) / 2 - _LOG_ROOT_2_PI - log_z)
        for sign, end in ((1, a), (-1, b))
    )
    entropy = _LOG_ROOT_2_PI + 0.5 + tf.math.log(sigma) + log_z + slope / 2
    return math.log(_HIGHEST - _LOWEST) - entropy


def log_moment(mu, sigma, order):
    """`log E[θ^order]` of the truncated log-normals."""
    a, b = (_LOWEST - mu) / sigma, (_HIGHEST - mu) / sigma
    shift = order * sigma
    change = _log_mass(a - shift, b - shift) - _log_mass(a, b)
    return order * mu + tf.square(shift) / 2 + change


def _log_mass(a, b):
    """`log(Φ(b) - Φ(a))` for `a < b`."""
    # In the lower tail, where differences are exact.
    is_right = a > 0
    low, high = tf.where(is_right, -b, a), tf.where(is_right, -a, b)
    log_low, log_high = log_ndtr(low), log_ndtr(high)
    return log_high + tf.math.log(-tf.math.expm1(log_low - log_high))


@tf.custom_gradient
def log_ndtr(x):
    """`log Φ(x)`, accurate far below zero, with the gradient `φ(x) / Φ(x)`.

    >>> log_ndtr(tf.constant([-100.0, -1.0, 0.0])).numpy().round(3)
    array([-5.005524e+03, -1.841000e+00, -6.930000e-01], dtype=float32)
    """
    far, near = tf.minimum(x, _FAR), tf.clip_by_value(x, _FAR, 0.0)
    square = 1 / tf.square(far)
    series = 1 - square * (1 - 3 * square * (1 - 5 * square * (1 - 7 * square)))
    tail = -tf.square(far) / 2 - tf.math.log(-far) - _LOG_ROOT_2_PI
    left = tf.math.log(0.5 * tf.math.erfc(-near * _ROOT_HALF))
    right = tf.math.log1p(-0.5 * tf.math.erfc(tf.maximum(x, 0.0) * _ROOT_HALF))
    middle = tf.where(x > 0, right, left)
    value = tf.where(x < _FAR, tail + tf.math.log(series), middle)

    def gradient(upstream):
        return upstream * tf.exp(-tf.square(x) / 2 - _LOG_ROOT_2_PI - value)

    return value, gradient


def _clipped(low, high):
    return lambda value: keras.ops.clip(value, low, high)
