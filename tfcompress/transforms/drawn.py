"""The common base of transforms that draw random numbers in training."""

import keras
import tensorflow as tf

from tfcompress.core.nouns import WeightTransform

# The square root has no gradient at zero.
_LEAST_VARIANCE = 1e-12


def add_seed_generator(layer, seed):
    """A `keras.random.SeedGenerator` whose state belongs to a layer."""
    generator = keras.random.SeedGenerator(seed)
    layer.seed_generators = [*getattr(layer, "seed_generators", []), generator]
    return generator


class Drawn(WeightTransform):
    """A transform that draws random numbers in training and has a cost in the loss.

    Subclasses have the argument `seed` and the method `cost`; if that is a divergence,
    also the arguments `kl_weight` and `num_samples`.

    Attributes:
        seed_generator: `keras.random.SeedGenerator`, whose state is the layer's.
        penalty_factor: scalar variable that multiplies the penalty, 1 unless
            `tfc.callbacks.PenaltyWarmup` raises it to that.
    """

    draws_each = True

    @property
    def penalty_weight(self):
        """The weight of the cost in the loss, which is a mean over samples."""
        return self.kl_weight / self.num_samples

    def build(self, layer, weight, layout):
        """Creates the random state and the factor in the layer."""
        self._weight = weight
        self.seed_generator = add_seed_generator(layer, self.seed)
        self.penalty_factor = layer.add_weight(
            name=f"{weight.name}_penalty_factor",
            shape=(),
            initializer="ones",
            trainable=False,
        )

    def add_trained(self, layer, name, value, constraint=None):
        """A variable of the weight's shape that is trained together with it."""
        return layer.add_weight(
            name=f"{self._weight.name}_{name}",
            shape=self._weight.shape,
            dtype=self._weight.dtype,
            initializer=keras.initializers.Constant(value),
            constraint=constraint,
            trainable=True,
        )

    def cost(self, weight):
        """The cost of the weight (tensor), a scalar."""
        raise NotImplementedError

    def penalty(self):
        """The cost, in units of the loss."""
        weight = tf.convert_to_tensor(self._weight.value)
        return self.penalty_factor * self.penalty_weight * self.cost(weight)


class Normal(Drawn):
    """A transform that draws weights independently from normal distributions.

    Subclasses implement `moments`, and `mean`, which is used at inference. Dense and
    convolution layers draw their outputs instead of their kernels.
    """

    def mean(self, weight):
        """The value used at inference, which is the mean in training."""
        raise NotImplementedError

    def __call__(self, weight, training=False):
        """A draw in training, otherwise the mean."""
        weight = tf.convert_to_tensor(weight)
        if not training:
            return self.mean(weight)
        mean, variance = self.moments(weight)
        return self.draw(mean, variance + _LEAST_VARIANCE)

    def draw(self, mean, variance):
        """A normally distributed draw for each element."""
        noise = keras.random.normal(
            tf.shape(mean), dtype=mean.dtype, seed=self.seed_generator
        )
        return mean + tf.sqrt(variance) * noise
