"""Whole two-dimensional kernels."""

import numpy as np

from tfcompress.core.nouns import Pattern


class Kernel(Pattern):
    """All weights between one input channel and one output channel.

    `tfc.shrink` removes input channels that no filter reads any more. In a dense
    kernel, every weight is a separate group.

    Source: Anwar et al., "Structured Pruning of Deep Convolutional Neural Networks"
    (2015), section 3 (kernel level).

    >>> Kernel().pool(np.ones((3, 3, 4, 8))).shape
    (4, 8)
    """

    def pool(self, scores, reduce=np.mean):
        """The score of each kernel, `(inputs, outputs)`."""
        return reduce(scores, tuple(range(scores.ndim - 2)))

    def spread(self, group_mask, shape):
        """Repeats each kernel's mask bit over its positions."""
        return np.broadcast_to(group_mask, shape)
