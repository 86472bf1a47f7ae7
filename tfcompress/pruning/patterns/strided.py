"""Kernels that keep only every n-th row and column."""

import itertools

import numpy as np

from tfcompress.core.kinds import Integer
from tfcompress.core.nouns import Pattern


class Strided(Pattern):
    """Keeps the rows and columns `offset + stride i` of all kernels of a layer.

    For each axis of the kernel, the offset is the one with the highest score. The
    pattern fixes the sparsity, whatever value the schedule has; the schedule determines
    when it starts (sparsity above 0) and when the choice is updated. `tfc.shrink`
    stores such kernels as small, dilated ones without the zeros. Dense kernels and 1x1
    convolutions have a single position, which stays.

    Args:
        stride: distance between the rows and columns that stay, at least 2.

    Raises:
        ValueError: if the stride is not an integer of at least 2.

    Source: Anwar et al., "Structured Pruning of Deep Convolutional Neural Networks"
    (2015), section 3 (intra-kernel strided sparsity).

    >>> Strided(2).select(np.array([[1.0, 0, 1], [0, 9, 0], [1, 0, 1]]), 4).astype(int)
    array([[0, 0, 0],
           [0, 1, 0],
           [0, 0, 0]])
    """

    def __init__(self, stride: Integer(2) = 2):
        self.stride = stride

    def pool(self, scores, reduce=np.mean):
        """The score of each position of the kernel, `(*kernel size,)`."""
        return reduce(scores, (-2, -1))

    def select(self, group_scores, num_kept):
        """The positions of the best offset; all if nothing must go."""
        mask = np.zeros(group_scores.shape, bool)
        if num_kept >= group_scores.size:
            return ~mask
        offsets = [range(min(self.stride, size)) for size in group_scores.shape]
        choices = [
            tuple(slice(offset, None, self.stride) for offset in place)
            for place in itertools.product(*offsets)
        ]
        mask[max(choices, key=lambda places: group_scores[places].sum())] = True
        return mask

    def spread(self, group_mask, shape):
        """Repeats each position's mask bit over all kernels."""
        return np.broadcast_to(group_mask[..., None, None], shape)
