"""What transforms share that draw numbers while they train."""

import keras
import tensorflow as tf

from tfcompress.core.nouns import WeightTransform

# The root has no gradient at zero.
_LEAST_VARIANCE = 1e-12


def add_seed_generator(layer, seed):
    """A `keras.random.SeedGenerator` whose state belongs to a layer."""
    generator = keras.random.SeedGenerator(seed)
    layer.seed_generators = [*getattr(layer, "seed_generators", []), generator]
    return generator


class Drawn(WeightTransform):
    """A transform that draws numbers while training, and pays for what it knows.

    Subclasses have the argument `seed`, and `cost`; where that is a divergence, the
    arguments `kl_weight` and `num_samples`.

    Attributes:
        seed_generator: `keras.random.SeedGenerator`, whose state is the layer's.
        penalty_factor: scalar variable that multiplies the penalty, 1 unless
            `tfc.callbacks.PenaltyWarmup` leads it there.
    """

    draws_each = True

    @property
    def penalty_weight(self):
        """Of the cost in the loss, which is a mean over samples."""
        return self.kl_weight / self.num_samples

    def build(self, layer, weight, layout):
        """Gives the layer the state of the draws, and the factor."""
        self._weight = weight
        self.seed_generator = add_seed_generator(layer, self.seed)
        self.penalty_factor = layer.add_weight(
            name=f"{weight.name}_penalty_factor",
            shape=(),
            initializer="ones",
            trainable=False,
        )

    def add_trained(self, layer, name, value, constraint=None):
        """A variable like the weight that is trained with it."""
        return layer.add_weight(
            name=f"{self._weight.name}_{name}",
            shape=self._weight.shape,
            dtype=self._weight.dtype,
            initializer=keras.initializers.Constant(value),
            constraint=constraint,
            trainable=True,
        )

    def cost(self, weight):
        """What it pays for the weight (tensor), a scalar."""
        raise NotImplementedError

    def penalty(self):
        """The cost, in units of the loss."""
        weight = tf.convert_to_tensor(self._weight.value)
        return self.penalty_factor * self.penalty_weight * self.cost(weight)


class Normal(Drawn):
    """A transform that draws normal weights, each for itself.

    Subclasses have `moments`, and `mean`, which is used at inference. Dense and
    convolution layers draw their outputs instead of their kernels.
    """

    def mean(self, weight):
        """What is used at inference, and is the mean while training."""
        raise NotImplementedError

    def __call__(self, weight, training=False):
        """A draw, or the mean."""
        weight = tf.convert_to_tensor(weight)
        if not training:
            return self.mean(weight)
        mean, variance = self.moments(weight)
        return self.draw(mean, variance + _LEAST_VARIANCE)

    def draw(self, mean, variance):
        """A normal draw for each element."""
        noise = keras.random.normal(
            tf.shape(mean), dtype=mean.dtype, seed=self.seed_generator
        )
        return mean + tf.sqrt(variance) * noise
