"""Two values, one bit."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.kinds import Flag, Integer, OneOf
from tfcompress.core.nouns import WeightTransform
from tfcompress.transforms.drawn import add_seed_generator
from tfcompress.transforms.scales import mean_magnitude, scale_axes

# If a smaller fraction of a kernel is zero, its zeros were drawn, not pruned.
_FEW = 1e-3
_TINY = 1e-6


class Binary(WeightTransform):
    """Replaces weights with their signs, with or without a scale.

    Without a scale (BinaryConnect, BNN), or with one per output channel (XNOR-Net):

        y = sign(w)    or    y = a sign(w),  a = mean|w|

    `stochastic`: in training, the sign is positive with probability
    `clip((w + 1) / 2, 0, 1)`. Inference always uses the sign, so that it matches the
    exported model. (Courbariaux uses the real weights there, which saves no memory.)
    Small latent weights, which most are at first, make the draws nearly even: that
    needs high learning rates and many more epochs than deterministic signs.

    Gradients: `dL/dw = 1[|w| <= 1] dL/dy` through the sign, drawn or not. With a scale,
    for the `n` weights of a channel,

        dL/dw_i = 1[|w_i| <= 1] a dL/dy_i + sign(w_i) / n sum_j(sign(w_j) dL/dy_j)

    the gradient of the formula. (XNOR-Net itself keeps only the term `j = i` of the sum.)

    The latent weights are clipped to [-1, 1] after each optimizer step (as a constraint
    of the Keras variable, after any existing one), since they could never return from
    beyond that range.

    A weight that is exactly zero stays zero and does not count in the mean, so weights
    pruned by a preceding `Mask` stay pruned. But if fewer than one weight in a thousand
    is zero when compression starts, as a few of millions of random ones are, those
    become tiny and positive: without a mask, and unless a new bias is covered, there
    are two values.

    Args:
        scale: `None` or `"mean"`. After a transform that shares values between
            channels, such as `Codebook`, there is a single scale.
        stochastic: whether signs are drawn at random in training.
        seed: integer seed for the draws; by default it is itself random, from the
            generator that `keras.utils.set_random_seed` seeds.

    Attributes:
        seed_generator: `keras.random.SeedGenerator`, whose state is the layer's, if
            `stochastic`.

    Raises:
        ValueError: if `scale` is unknown.

    Source: Courbariaux et al., "BinaryConnect" (2015), sections 2.2 to 2.6; Hubara et
    al., "Binarized Neural Networks" (2016), section 1; Rastegari et al., "XNOR-Net"
    (2016), section 3.1.

    Example:
        >>> layer = keras.layers.Dense(2, use_bias=False); layer.build((None, 2))
        >>> _ = layer.kernel.assign([[0.25, -3.0], [-0.75, 1.0]])
        >>> model = keras.Sequential([keras.Input((2,)), layer])
        >>> model = tfc.compress(model, {".*": Binary(scale="mean")})
        >>> tfc.strip(model).layers[0].kernel.numpy()
        array([[ 0.5, -2. ],
               [-0.5,  2. ]], dtype=float32)
    """

    max_level = 1
    waits = True

    def __init__(
        self,
        scale: OneOf("mean", None) = None,
        stochastic: Flag() = False,
        seed: Integer(0) = None,
    ):
        self.scale = scale
        self.stochastic = stochastic
        self.seed = seed

    @property
    def shares_values(self):
        """Without scales, all channels have the same values."""
        return self.scale is None

    def build(self, layer, weight, layout):
        """Adds the clipping constraint and, for draws, their state to the layer."""
        self.axes = scale_axes(layout, per_channel=True)
        weight.constraint = _clipped_behind(weight.constraint)
        is_zero = weight.numpy() == 0
        if 0 < is_zero.mean() < _FEW:
            weight.assign(np.where(is_zero, _TINY, weight.numpy()))
        if self.stochastic:
            self.seed_generator = add_seed_generator(layer, self.seed)

    def __call__(self, weight, training=False):
        """The signs, times the scale if there is one."""
        weight = tf.convert_to_tensor(weight)
        threshold = tf.zeros_like(weight)
        if self.stochastic and training:
            # w exceeds a number drawn from [-1, 1) with probability (w + 1) / 2.
            threshold = keras.random.uniform(
                weight.shape, -1.0, 1.0, dtype=weight.dtype, seed=self.seed_generator
            )
        signs = _signs(weight, threshold)
        if self.scale is None:
            return signs
        return mean_magnitude(weight, self.axes) * signs


def _signs(weight, threshold):
    @tf.custom_gradient
    def forward(weight):
        ones = tf.ones_like(weight)
        signs = tf.where(weight > threshold, ones, -ones)
        zeros = tf.zeros_like(weight)

        def gradient(upstream):
            return tf.where(tf.abs(weight) <= 1, upstream, zeros)

        return tf.where(weight == 0, zeros, signs), gradient

    return forward(weight)


def _clipped_behind(constraint):
    def clip(weight):
        weight = constraint(weight) if constraint else weight
        return keras.ops.clip(weight, -1, 1)

    return clip
