"""Importance based on the direction of the optimizer."""

import numpy as np

from tfcompress.core.nouns import Criterion


class Momentum(Criterion):
    """`score_i = |m_i|`, with the optimizer's momentum `m`.

    For Adam and its variants it is `m / (√v + ε)`. No data is needed, but the model
    must have been trained. Sparse networks from scratch (SNFS) uses it to grow weights.

    Source: Dettmers and Zettlemoyer, "Sparse networks from scratch" (2019), section 3.

    Example:
        >>> Momentum()(np.ones(2), {"momentum": np.array([-3.0, 1.0])})
        array([3., 1.])
    """

    needs = frozenset({"momentum"})

    def __call__(self, weight, signals):
        """The absolute values."""
        return np.abs(signals["momentum"])
