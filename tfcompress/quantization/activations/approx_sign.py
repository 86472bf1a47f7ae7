"""The sign with the gradient of a parabola."""

import keras

from tfcompress.quantization.activations.sign import Sign


class ApproxSign(Sign):
    """The sign, where zero counts as positive, with a triangle as gradient.

    Gradient: `dL/dx = max(2 - 2|x|, 0) dL/dy`, that of a piecewise polynomial that is
    closer to the sign than the clipped identity.

    Source: Liu et al., "Bi-Real Net" (2018), section 3.3, equation 7.

    Example:
        >>> ApproxSign().slope(tf.constant([-2.0, 0.0, 0.25])).numpy()
        array([0. , 2. , 1.5], dtype=float32)
    """

    def slope(self, values):
        """A triangle of height 2 over [-1, 1]."""
        return keras.ops.maximum(2 - 2 * keras.ops.abs(values), 0)
