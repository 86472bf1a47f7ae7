"""The sign with the gradient of a smooth step."""

import keras

from tfcompress.core.kinds import Number
from tfcompress.quantization.activations.sign import Sign

# Beyond this, the slope is zero in float32, and its terms would overflow.
_LARGEST = 40.0


class SwishSign(Sign):
    """The sign, where zero counts as positive, with the gradient of a smooth step.

    Gradient, that of `2 σ(βx) (1 + βx (1 - σ(βx))) - 1`:

        dL/dx = β (2 - βx tanh(βx / 2)) / (1 + cosh(βx)) dL/dy

    Args:
        beta: `β`, the steepness of the step, positive.

    Raises:
        ValueError: if `beta` is not positive.

    Source: Darabi et al., "BNN+: Improved Binary Network Training" (2018), section 3.1.

    Example:
        >>> SwishSign(beta=5.0).slope(tf.constant([0.0, 9.0])).numpy().round(3)
        array([ 5., -0.], dtype=float32)
    """

    def __init__(self, beta: Number(above=0) = 5.0):
        self.beta = beta

    def slope(self, values):
        """The derivative of the smooth step."""
        steep = keras.ops.clip(self.beta * values, -_LARGEST, _LARGEST)
        numerator = self.beta * (2 - steep * keras.ops.tanh(steep / 2))
        return numerator / (1 + keras.ops.cosh(steep))
