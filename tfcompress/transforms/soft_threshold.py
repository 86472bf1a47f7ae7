"""Weights reduced by a trained threshold."""

import keras
import tensorflow as tf

from tfcompress.core.kinds import Flag, Number
from tfcompress.core.nouns import WeightTransform
from tfcompress.transforms.scales import scale_axes, scale_shape


class SoftThreshold(WeightTransform):
    """Subtracts a trained threshold from the magnitude of each weight, down to zero (STR).

    With the trained `s`, one per layer or per output channel:

        y = sign(w) max(|w| - T, 0),    T = σ(s)

    Gradients:

        dL/dw = dL/dy where |w| > T, else 0
        dL/ds = -σ(s) (1 - σ(s)) sum of sign(w) dL/dy over |w| > T

    The penalty `½ λ sum s²`, the paper's weight decay of `s`, is added to the loss; it
    pulls `s` up towards 0 and `T` towards ½, until the loss balances it: `λ` and `s_0`
    determine how many weights stay, and each layer finds its own share. There is no
    schedule, and nothing to harden. An optimizer such as Adam changes `s` by about its
    learning rate in each step: a short training ends before `s` has settled.

    Args:
        per_channel: whether each output channel has its own threshold; the paper has
            one per layer.
        initial: `s_0`, the initial `s`, below 0: -5 makes the threshold 0.0067.
        penalty_weight: `λ`, at least 0.

    Attributes:
        logit: variable `s`, of a shape that broadcasts to the weight's.

    Raises:
        ValueError: if an argument is out of range.

    Source: STR: Kusupati et al., "Soft Threshold Weight Reparameterization for
    Learnable Sparsity" (2020), section 3.

    Example:
        >>> layer = keras.layers.Dense(1, use_bias=False); layer.build((None, 3))
        >>> _ = layer.kernel.assign([[1.0], [-0.75], [0.25]])
        >>> model = keras.Sequential([keras.Input((3,)), layer])
        >>> model = tfc.compress(model, {".*": SoftThreshold()})
        >>> _ = model.layers[0].treatments[0].transforms[0].logit.assign([[0.0]])
        >>> tfc.strip(model).layers[0].kernel.numpy().ravel()
        array([ 0.5 , -0.25,  0.  ], dtype=float32)
    """

    def __init__(
        self,
        per_channel: Flag() = False,
        initial: Number(below=0) = -5.0,
        penalty_weight: Number(0) = 0.1,
    ):
        self.per_channel = per_channel
        self.initial = initial
        self.penalty_weight = penalty_weight

    def build(self, layer, weight, layout):
        """Creates `s`."""
        self.logit = layer.add_weight(
            name=f"{weight.name}_threshold_logit",
            shape=scale_shape(layout, scale_axes(layout, self.per_channel)),
            dtype=weight.dtype,
            initializer=keras.initializers.Constant(self.initial),
            trainable=True,
        )

    def __call__(self, weight, training=False):
        """`y`."""
        threshold = tf.sigmoid(tf.convert_to_tensor(self.logit.value))
        less = weight - tf.sign(weight) * threshold
        return tf.where(tf.abs(weight) > threshold, less, tf.zeros_like(less))

    def penalty(self):
        """`½ λ sum s²`."""
        logit = tf.convert_to_tensor(self.logit.value)
        return self.penalty_weight / 2 * tf.reduce_sum(tf.square(logit))
