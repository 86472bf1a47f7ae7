"""Kernels of which only every n-th row and column stays."""

import itertools

import numpy as np

from tfcompress.core.kinds import Integer
from tfcompress.core.nouns import Pattern


class Strided(Pattern):
    """Keeps the rows and columns `offset + stride i` of all kernels of a layer.

    The offset is the one with the highest score, one for each axis of the kernel. The
    pattern fixes the sparsity, whatever number the schedule gives; the schedule says
    when it begins (sparsity above 0) and when the choice is renewed. `tfc.shrink`
    stores such kernels small and dilated, which saves their zeros. Dense kernels and
    1x1 convolutions have one position, which stays.

    Args:
        stride: distance of the rows and columns that stay.

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
        """The best offset's positions; all if nothing must go."""
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
        """Repeats each position's bit over all kernels."""
        return np.broadcast_to(group_mask[..., None, None], shape)
