"""Importance based on the increase of the loss, to second order."""

import numpy as np

from tfcompress.core.nouns import Criterion


class OBD(Criterion):
    """`score_i = ½ max(h_ii, 0) w_i²`, with the diagonal `h` of the Hessian of the loss.

    Optimal brain damage: for a trained model, whose gradients are zero. The diagonal is
    estimated with random signs (`tfc.signals.HessianDiagonal`) and improves with more
    batches. Negative estimates, which are noise near a minimum, count as zero.

    Source: LeCun et al., "Optimal brain damage" (1989), equation 5.

    Example:
        >>> OBD()(np.array([2.0, 3.0]), {"hessian_diagonal": np.array([1.0, -1.0])})
        array([2., 0.])
    """

    needs = frozenset({"hessian_diagonal"})

    def __call__(self, weight, signals):
        """The increase of the loss."""
        return 0.5 * np.maximum(signals["hessian_diagonal"], 0) * np.square(weight)
