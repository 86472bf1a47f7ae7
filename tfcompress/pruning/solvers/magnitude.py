"""Removes the smallest weights and leaves the others unchanged."""

import numpy as np

from tfcompress.core.nouns import Solver


class Magnitude(Solver):
    """`score_i = |w_i|`, the mean for a group; no weight is corrected.

    The baseline for the other solvers; the same as `tfc.prune` by magnitude.

    Source: Han et al., "Learning both Weights and Connections for Efficient Neural
    Networks" (2015).

    Example:
        >>> weight = np.array([[[1.0], [-2.0], [3.0]]])
        >>> one_weight = tfc.solvers.MatrixPattern(tfc.patterns.Weight(), (3, 1))
        >>> Magnitude()(weight, 2, one_weight).ravel()
        array([ 0., -2.,  3.])
    """

    def scores(self, weight, pattern, inputs=None):
        """The mean absolute value of each group."""
        return pattern.pool(np.abs(weight))

    def __call__(self, weight, num_kept, pattern, inputs=None):
        """The weights that stay."""
        keep = pattern.select(self.scores(weight, pattern), num_kept)
        return np.where(keep, weight, 0.0)
