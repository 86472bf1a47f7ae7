"""Activation ranges with a trained step."""

import keras
import tensorflow as tf

from tfcompress.core.kinds import Integer, checked
from tfcompress.core.replicas import gathered
from tfcompress.quantization.layers.fake_quant import FakeQuant, bounded
from tfcompress.transforms.learned_step import round_to_step


@keras.saving.register_keras_serializable("tfcompress")
class LearnedStepQuant(FakeQuant):
    """Rounds activations to evenly spaced levels with a trained step (LSQ).

        y = s round(clip(x / s, low, high))

    with the levels 0 to `2^bits - 1`, or `-2^(bits-1)` to `2^(bits-1) - 1` if the first
    batch has a negative activation. Before the first batch, `y = x`; the batch sets
    `s = 2 mean|x| / sqrt(high)`.

    Gradients: `dL/dx = dL/dy` between the lowest and the highest level, else 0;

        dL/ds = g sum(dL/dy d),   d = round(x / s) - x / s between them, else the level

    with `g = 1 / sqrt(N high)` for `N` activations of one example.

    Args:
        bits: 2 to 16.
        sites: number of places that share the step; `call` takes the index of the place
            as `site`.

    Attributes:
        step: variable `(1,)`, whose magnitude is `s`.

    Raises:
        ValueError: if `bits` is out of range.

    Source: LSQ: Esser et al., "Learned Step Size Quantization" (2020), sections 2.1 and
    2.2.

    Example:
        >>> layer = LearnedStepQuant(bits=2)
        >>> _ = layer(np.array([[0.0, 1.0, 2.0]], "float32"), training=True)
        >>> layer.step.assign([1.0]).numpy(), layer.range()
        (array([1.], dtype=float32), (0.0, 3.0))
    """

    @checked
    def __init__(self, bits: Integer(2, 16) = 8, sites: Integer(1) = 1, **kwargs):
        super().__init__(bits, "learned", sites=sites, **kwargs)

    def build(self, input_shape=None):
        """Creates the step."""
        self.step = self.add_weight(
            name="step", shape=(1,), initializer="ones", trainable=True
        )
        self.is_signed = self.add_weight(
            name="is_signed",
            shape=(),
            initializer="zeros",
            trainable=False,
            aggregation="mean",
        )
        self.seen = self._add_range("seen", 0.0, trainable=False)

    def _levels(self):
        """The lowest and the highest level."""
        below = self.is_signed.value * 2.0 ** (self.bits - 1)
        return 0.0 - below, 2.0**self.bits - 1 - below

    def _round(self, inputs):
        step = tf.abs(tf.convert_to_tensor(self.step.value))
        axes = tuple(range(len(inputs.shape)))
        num_sharing = tf.cast(tf.size(inputs[0]), tf.float32)
        # Summed over all axes, but with as many axes as the values.
        step = tf.reshape(step, [1] * len(axes))
        return round_to_step(inputs, step, *self._levels(), axes, num_sharing)

    def _observe(self, inputs, site):
        inputs = bounded(tf.stop_gradient(inputs))
        is_new = 1 - tf.gather(self.seen.value, site)
        lowest, total, count = self._seen_by_all(inputs)
        is_negative = tf.cast(lowest < 0, tf.float32)
        self.is_signed.assign(tf.maximum(self.is_signed.value, is_new * is_negative))
        mean = total / count
        start = 2 * mean / tf.sqrt(self._levels()[1])
        is_first = (tf.reduce_max(self.seen.value) == 0) & (mean > 0)
        self.step.assign(tf.where(is_first, start, self.step.value))
        self.seen.assign(tf.maximum(self.seen.value, tf.one_hot(site, self.sites)))

    @staticmethod
    def _seen_by_all(inputs):
        """The lowest activation of all replicas, the sum of `|x|` and their number."""
        lowest, total = tf.reduce_min(inputs), tf.reduce_sum(tf.abs(inputs))
        count = tf.cast(tf.size(inputs), tf.float32)
        lows, totals, counts = gathered(lowest, total, count)
        return tf.reduce_min(lows), tf.reduce_sum(totals), tf.reduce_sum(counts)

    def range(self):
        """`(min, max)` as floats, or None before the first batch."""
        if not self.built or not self.seen.numpy().any():
            return None
        step = abs(float(self.step.numpy()[0]))
        return tuple(float(level) * step for level in self._levels())

    def get_config(self):
        """The constructor's arguments."""
        config = super().get_config()
        del config["ranges"], config["momentum"]
        return config
