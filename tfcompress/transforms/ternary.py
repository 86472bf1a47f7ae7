"""Three values, -a, 0 and a."""

import tensorflow as tf

from tfcompress.core.kinds import Flag, Number
from tfcompress.core.nouns import WeightTransform
from tfcompress.transforms.scales import mean_magnitude, scale_axes
from tfcompress.transforms.straight_through import straight_through


class Ternary(WeightTransform):
    """Rounds weights to three values (TWN).

        D = threshold mean|w|,    a = mean of |w| over |w| > D
        y = a sign(w) where |w| > D, else 0

    This is nearly the closest ternary weight, `min ||w - y||`; it is exact for
    uniformly distributed weights at `threshold = 2/3`. Both means are over weights that
    are not zero: pruned weights do not change, so they do not affect what is closest.

    Gradient: `dL/dw = dL/dy` (straight-through estimator).

    Args:
        threshold: the fraction of the mean magnitude that counts as zero, in [0, 1).
        per_channel: whether each output channel has its own threshold and scale; the
            paper has one per layer.

    Raises:
        ValueError: if `threshold` is out of range.

    Source: TWN: Li et al., "Ternary Weight Networks" (2016), sections 2.1 to 2.3.

    Example:
        >>> layer = keras.layers.Dense(1, use_bias=False); layer.build((None, 4))
        >>> _ = layer.kernel.assign([[1.0], [-3.0], [0.5], [-0.25]])
        >>> model = keras.Sequential([keras.Input((4,)), layer])
        >>> model = tfc.compress(model, {".*": "ternary"})
        >>> tfc.strip(model).layers[0].kernel.numpy().ravel()
        array([ 2., -2., 0., 0.], dtype=float32)
    """

    max_level = 1
    waits = True

    def __init__(
        self, threshold: Number(0, below=1) = 0.7, per_channel: Flag() = False
    ):
        self.threshold = threshold
        self.per_channel = per_channel

    @property
    def shares_values(self):
        """One scale gives all channels the same values."""
        return not self.per_channel

    def build(self, layer, weight, layout):
        """Stores the axes over which a scale is shared."""
        self.axes = scale_axes(layout, self.per_channel)

    def __call__(self, weight, training=False):
        """The rounded weight."""
        return straight_through(self._round, weight)

    def _round(self, weight):
        threshold = self.threshold * mean_magnitude(weight, self.axes)
        large = tf.where(tf.abs(weight) > threshold, weight, tf.zeros_like(weight))
        return mean_magnitude(large, self.axes) * tf.sign(large)
