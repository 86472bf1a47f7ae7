"""Activations with one bit."""

import keras

from tfcompress.core.nouns import ActivationQuantizer


class Sign(ActivationQuantizer):
    """The sign, where zero counts as positive.

        y = 1 where x >= 0, else -1

    Gradient: `dL/dx = 1[|x| <= 1] dL/dy` (clipped straight-through estimator).

    Source: Hubara et al., "Binarized Neural Networks" (2016), section 1.3.

    Example:
        >>> Sign()(tf.constant([-2.0, 0.0, 0.5])).numpy()
        array([-1., 1., 1.], dtype=float32)
    """

    def forward(self, values):
        """The signs."""
        ones = keras.ops.ones_like(values)
        return keras.ops.where(values >= 0, ones, -ones)

    def slope(self, values):
        """1 where `|x| <= 1`, else 0."""
        return keras.ops.cast(keras.ops.abs(values) <= 1, values.dtype)
