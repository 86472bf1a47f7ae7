"""Weights with a learned uncertainty."""

import keras
import tensorflow as tf

from tfcompress.core.kinds import Integer, Number
from tfcompress.transforms.drawn import Normal


class GaussianWeights(Normal):
    """Learns a normal distribution for each weight.

    Weights are normally distributed with mean `w` and a trained variance `σ²`;
    inference uses the mean. Dense and convolution layers draw their outputs, other
    layers one weight per batch. The penalty is the divergence from the prior `N(0, 1)`,

        kl_weight / num_samples sum(σ² + w² - 1 - log σ²) / 2

    The loss must be a mean over examples. It does not prune: use `GroupNormalJeffreys`
    on gates for that. Where `σ` is large, few bits of `w` matter.

    Args:
        num_samples: number of training samples.
        kl_weight: weight of the divergence, at least 0; 1 for the bound on the likelihood.
        initial_log_variance: initial `log σ²`.
        max_deviation: upper limit of `σ`, above 0, applied after each optimizer step;
            in the first layer, 0.2 keeps training stable. None for no limit.
        seed: integer seed for the draws; random by default.

    Attributes:
        log_variance: variable of the weight's shape.

    Raises:
        ValueError: if an argument is out of range.

    Source: Louizos et al., "Bayesian Compression for Deep Learning" (2017), section 4.1
    and appendix A.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> model = tfc.compress(model, {".*": GaussianWeights(num_samples=100)})
        >>> weights = model.layers[0].treatments[0].transforms[0]
        >>> weights.log_variance.assign(np.full((4, 3), -2.0)).shape
        TensorShape([4, 3])
    """

    def __init__(
        self,
        num_samples: Integer(1),
        kl_weight: Number(0) = 1.0,
        initial_log_variance: Number() = -9.0,
        max_deviation: Number(above=0) = None,
        seed: Integer(0) = None,
    ):
        self.num_samples = num_samples
        self.kl_weight = kl_weight
        self.initial_log_variance = initial_log_variance
        self.max_deviation = max_deviation
        self.seed = seed

    def build(self, layer, weight, layout):
        """Creates `log σ²`."""
        super().build(layer, weight, layout)
        self.log_variance = self.add_trained(
            layer, "log_variance", self.initial_log_variance, self._constraint()
        )

    def _constraint(self):
        if self.max_deviation is None:
            return None
        most = 2 * keras.ops.log(self.max_deviation)
        return lambda value: keras.ops.minimum(value, most)

    def mean(self, weight):
        """The weight."""
        return weight

    def moments(self, weight):
        """The weight and its variance."""
        ones = tf.ones_like(weight)
        return weight, ones * tf.exp(self.log_variance.value)

    def cost(self, weight):
        """The divergence from the prior."""
        log_variance = self.log_variance.value
        squares = tf.exp(log_variance) + tf.square(weight)
        return tf.reduce_sum(squares - 1 - log_variance) / 2
