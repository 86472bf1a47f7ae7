"""Importance by where the optimizer has been heading."""

import numpy as np

from tfcompress.core.nouns import Criterion


class Momentum(Criterion):
    """`score_i = |m_i|`, with the optimizer's momentum `m`.

    Of Adam and its like `m / (√v + ε)`. No data are needed, but a model that trains.
    Sparse networks from scratch grow by it.

    Source: Dettmers and Zettlemoyer, "Sparse networks from scratch" (2019), section 3.

    Example:
        >>> Momentum()(np.ones(2), {"momentum": np.array([-3.0, 1.0])})
        array([3., 1.])
    """

    needs = frozenset({"momentum"})

    def __call__(self, weight, signals):
        """The absolute values."""
        return np.abs(signals["momentum"])
