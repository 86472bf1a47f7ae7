"""Activations with three values."""

import keras

from tfcompress.core.kinds import Number
from tfcompress.quantization.activations.sign import Sign


class TernarySign(Sign):
    """The sign, with 0 for activations close to zero.

        y = sign(x) where |x| > threshold, else 0

    Gradient: `dL/dx = 1[|x| <= 1] dL/dy` (clipped straight-through estimator).

    Args:
        threshold: activations up to this magnitude become zero, in [0, 1).

    Raises:
        ValueError: if `threshold` is out of range.

    Source: Deng et al., "GXNOR-Net" (2018), section 2.2, for the levels; Hubara et al.,
    "Binarized Neural Networks" (2016), section 1.3, for the gradient.

    Example:
        >>> TernarySign()(tf.constant([-2.0, -0.5, 0.25, 0.75])).numpy()
        array([-1., 0., 0., 1.], dtype=float32)
    """

    def __init__(self, threshold: Number(0, below=1) = 0.5):
        self.threshold = threshold

    def forward(self, values):
        """-1, 0 or 1."""
        is_large = keras.ops.abs(values) > self.threshold
        zeros = keras.ops.zeros_like(values)
        return keras.ops.where(is_large, keras.ops.sign(values), zeros)
