"""Importance by size: small weights go first."""

import numpy as np

from tfcompress.core.nouns import Criterion


class L1(Criterion):
    """`score_i = |w_i|`; a group scores the mean of its elements.

    Source: Han et al., "Learning both Weights and Connections for Efficient Neural
    Networks" (2015); for filters Li et al., "Pruning Filters for Efficient ConvNets"
    (2017).

    >>> L1()(np.array([-2.0, 1.0]), {})
    array([2., 1.])
    """

    def __call__(self, weight, signals):
        """The absolute values."""
        return np.abs(weight)


class L2(Criterion):
    """`score_i = w_i²`; a group scores the mean, which ranks it by its L2 norm.

    Source: He et al., "Soft Filter Pruning" (2018), section 3.2.

    >>> L2()(np.array([-2.0, 1.0]), {})
    array([4., 1.])
    """

    def __call__(self, weight, signals):
        """The squares."""
        return np.square(weight)


class Magnitude(L1):
    """`score_i = |w_i|`: the usual name of `L1`.

    >>> Magnitude()(np.array([-2.0, 1.0]), {})
    array([2., 1.])
    """
