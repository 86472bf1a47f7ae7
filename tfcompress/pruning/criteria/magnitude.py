"""Importance based on magnitude: small weights are removed first."""

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

    Source: SFP: He et al., "Soft Filter Pruning" (2018), section 3.2.

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


class MagnitudePerSign(Criterion):
    """Magnitude rank among the weights of the same sign.

    `score_i = r_i / n`, with `r_i` the rank of `|w_i|` among the `n` weights that have the
    sign of `w_i`, 1 for the smallest; 0 for zeros. So the lowest scores are those of
    the smallest positive and the largest negative weights, in equal proportions, which
    is how SET drops them.

    Source: Mocanu et al., "Scalable training of artificial neural networks with adaptive
    sparse connectivity" (2018), algorithm 1.

    >>> MagnitudePerSign()(np.array([-2.0, 8.0, 0.0, 9.0, -1.0, -3.0, -4.0]), {})
    array([0.5 , 0.5 , 0.  , 1.  , 0.25, 0.75, 1.  ])
    """

    def __call__(self, weight, signals):
        """The ranks."""
        scores = np.zeros(weight.shape)
        for has_sign in (weight > 0, weight < 0):
            sizes = np.abs(weight[has_sign])
            ranks = np.empty(sizes.size)
            ranks[np.argsort(sizes, kind="stable")] = np.arange(1, sizes.size + 1)
            scores[has_sign] = ranks / max(sizes.size, 1)
        return scores
