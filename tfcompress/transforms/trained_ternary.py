"""Three values, two of which are trained."""

import numpy as np
import tensorflow as tf

from tfcompress.core.kinds import Flag, Number
from tfcompress.core.nouns import WeightTransform
from tfcompress.transforms.scales import mean_magnitude, scale_axes, scale_shape


class TrainedTernary(WeightTransform):
    """Replaces weights with zero or one of two trained values (TTQ).

    With `D = threshold max|w|` and the trained values `p` and `n`:

        y = p where w > D,    -n where w < -D,    0 elsewhere

    Gradients:

        dL/dp = sum of dL/dy over w > D,    dL/dn = -(sum of dL/dy over w < -D)
        dL/dw = p dL/dy where w > D,    n dL/dy where w < -D,    dL/dy elsewhere

    (The paper's equation 7 has no minus sign because its values are unsigned.) `p` and
    `n` start as the mean magnitudes of the weights that they replace, and are not reset
    when masks change.

    Args:
        threshold: the fraction of the largest magnitude that counts as zero, in [0, 1).
        per_channel: whether each output channel has its own threshold and values; the
            paper has one per layer.

    Attributes:
        positive: variable `p`, of a shape that broadcasts to the weight's.
        negative: variable `n`, of the same shape.

    Raises:
        ValueError: if `threshold` is out of range.

    Source: TTQ: Zhu et al., "Trained Ternary Quantization" (2017), section 3.

    Example:
        >>> layer = keras.layers.Dense(1, use_bias=False); layer.build((None, 5))
        >>> _ = layer.kernel.assign([[1.0], [3.0], [-1.0], [-2.0], [0.1]])
        >>> model = keras.Sequential([keras.Input((5,)), layer])
        >>> model = tfc.compress(model, {".*": "trained_ternary"})
        >>> tfc.strip(model).layers[0].kernel.numpy().ravel()
        array([ 2. , 2. , -1.5, -1.5, 0. ], dtype=float32)
    """

    waits = True

    def __init__(
        self, threshold: Number(0, below=1) = 0.05, per_channel: Flag() = False
    ):
        self.threshold = threshold
        self.per_channel = per_channel

    @property
    def shares_values(self):
        """One pair of values for all channels, unless each has its own."""
        return not self.per_channel

    def build(self, layer, weight, layout):
        """Creates the two values."""
        self.axes = scale_axes(layout, self.per_channel)

        def add_values(sign):
            return layer.add_weight(
                name=f"{weight.name}_{sign}",
                shape=scale_shape(layout, self.axes),
                dtype=weight.dtype,
                initializer="zeros",
                trainable=True,
            )

        self.positive = add_values("positive")
        self.negative = add_values("negative")

    def reset(self):
        """Discards the two values."""
        for values in (self.positive, self.negative):
            values.assign(np.zeros(values.shape))

    def refresh(self, weight):
        """Sets the two values, unless they have been set already."""
        if self.positive.numpy().any() or self.negative.numpy().any():
            return
        above, below = self._sides(weight)
        for values, side in ((self.positive, above), (self.negative, below)):
            values.assign(mean_magnitude(weight * side.numpy(), self.axes))

    def _sides(self, weight):
        """Which weights are above the threshold, and which below minus the threshold."""
        peak = tf.reduce_max(tf.abs(weight), self.axes, keepdims=True)
        threshold = self.threshold * peak
        return weight > threshold, weight < -threshold

    def __call__(self, weight, training=False):
        """The two values and zero in place of the weight."""
        above, below = self._sides(tf.stop_gradient(weight))

        def choose(positive, negative, other):
            return tf.where(above, positive, tf.where(below, negative, other))

        def total(values, side):
            values = tf.where(side, values, tf.zeros_like(values))
            return tf.reduce_sum(values, self.axes, keepdims=True)

        @tf.custom_gradient
        def replace(latent, positive, negative):
            def gradient(upstream):
                return (
                    upstream * choose(positive, negative, tf.ones_like(latent)),
                    total(upstream, above),
                    -total(upstream, below),
                )

            return choose(positive, -negative, tf.zeros_like(latent)), gradient

        return replace(
            tf.convert_to_tensor(weight),
            tf.convert_to_tensor(self.positive.value),
            tf.convert_to_tensor(self.negative.value),
        )
