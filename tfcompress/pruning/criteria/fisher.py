"""Importance based on how much predictions depend on a weight."""

import numpy as np

from tfcompress.core.nouns import Criterion


class Fisher(Criterion):
    """`score_i = w_i² E_n[(dL_n/dw_i)²]`, over samples `n` with losses `L_n`.

    The diagonal of the empirical Fisher information, with the labels of the data, times
    the square of the weight: twice the penalty of elastic weight consolidation (EWC)
    for a weight that becomes zero. `tfc.callbacks.LifelongImportance` accumulates it
    over training.

    Source: EWC: Kirkpatrick et al., "Overcoming catastrophic forgetting in neural
    networks" (2017), equation 3; Theis et al., "Faster gaze prediction with dense
    networks and Fisher pruning" (2018).

    Example:
        >>> Fisher()(np.array([1.0, 3.0]), {"squared_gradient": np.array([4.0, 1.0])})
        array([4., 9.])
    """

    needs = frozenset({"squared_gradient"})

    def __call__(self, weight, signals):
        """The squares times the information."""
        return np.square(weight) * signals["squared_gradient"]
