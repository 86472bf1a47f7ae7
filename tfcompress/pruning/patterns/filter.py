"""Whole filters or neurons."""

import numpy as np

from tfcompress.core.nouns import Pattern


class Filter(Pattern):
    """All weights of one output channel: a filter, or a neuron of a dense layer.

    >>> Filter().pool(np.array([[1.0, 4.0], [3.0, 4.0]]))
    array([2., 4.])
    """

    def pool(self, scores, reduce=np.mean):
        """The score of each output, `(outputs,)`."""
        return reduce(scores, tuple(range(scores.ndim - 1)))

    def spread(self, group_mask, shape):
        """Repeats each output's mask bit over the filter."""
        return np.broadcast_to(group_mask, shape)
