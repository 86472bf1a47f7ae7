"""Importance based on the change of the loss if a weight becomes zero."""

import numpy as np

from tfcompress.core.nouns import Criterion


class Taylor(Criterion):
    """`score_i = E_b[(w_i dL_b/dw_i)²]`, over batches `b` with the mean loss `L_b`.

    The square of the first-order change of the loss. A group's score is the mean of its
    elements; for whole channels, `TaylorGate` is better. 10 to 30 batches are enough.

    Source: Molchanov et al., "Importance Estimation for Neural Network Pruning" (2019),
    equation 4.

    Example:
        >>> signals = {"squared_batch_gradient": np.array([4.0, 1.0])}
        >>> Taylor()(np.array([1.0, 3.0]), signals)
        array([4., 9.])
    """

    needs = frozenset({"squared_batch_gradient"})

    def __call__(self, weight, signals):
        """The means of the squares."""
        return np.square(weight) * signals["squared_batch_gradient"]
