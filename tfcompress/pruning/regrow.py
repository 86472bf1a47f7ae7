"""One regrow function for all dynamic sparse training: it drops and grows weights."""

import numpy as np

from tfcompress.core.nouns import top


def regrow(mask, drop_scores, grow_scores, count, grow_count=None, may_return=True):
    """A mask in which the least important weights were exchanged for others.

    Of the current weights, the `count` with the lowest `drop_scores` are dropped; of
    all that are then masked, the `grow_count` with the highest `grow_scores` are grown.
    So the new mask has exactly `count - grow_count` fewer weights. If drop scores are
    equal, the later element is dropped; if grow scores are equal, the earlier one is grown.

    Args:
        mask: booleans of any shape, True = keep.
        drop_scores: an array of that shape, higher = keep.
        grow_scores: an array of that shape, higher = grow.
        count: the number to drop, at most the number of weights.
        grow_count: the number to grow; None for as many as are dropped.
        may_return: whether dropped weights may be grown again at once.

    Returns:
        The new mask.

    Raises:
        ValueError: if `count` exceeds the number of weights, or `grow_count` the number
            of places.

    Source: Mocanu et al., "Scalable training of artificial neural networks with adaptive
    sparse connectivity" (2018), algorithm 1; Evci et al., "Rigging the Lottery" (2020),
    algorithm 1.

    >>> mask = np.array([True, True, True, False, False])
    >>> weights, gradients = np.array([3, 1, 2, 0, 0]), np.array([0, 9, 0, 1, 2])
    >>> regrow(mask, weights, gradients, 1).astype(int)
    array([1, 1, 1, 0, 0])
    >>> regrow(mask, weights, gradients, 1, may_return=False).astype(int)
    array([1, 0, 1, 0, 1])
    """
    grow_count = count if grow_count is None else grow_count
    kept = best(drop_scores, mask, np.count_nonzero(mask) - count)
    return kept | best(grow_scores, ~(kept if may_return else mask), grow_count)


def best(scores, candidates, count):
    """Mask of the `count` candidates with the highest scores.

    >>> best(np.array([3.0, 1.0, 2.0]), np.array([False, True, True]), 1).astype(int)
    array([0, 0, 1])
    """
    places = np.flatnonzero(candidates)
    if not 0 <= count <= places.size:
        raise ValueError(
            f"Got a count of {count}, expected one from 0 to {places.size}."
        )
    mask = np.zeros(candidates.shape, bool)
    mask.flat[places[top(np.ravel(scores)[places], count)]] = True
    return mask
