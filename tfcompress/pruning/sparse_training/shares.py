"""Whole numbers that add up exactly."""

import numpy as np

_ROUNDING = 1e-9


def shares(total, proportions, limits):
    """Shares a number out in proportion, no share above its limit.

    What a full share cannot take is handed on to the others, in proportion again. Of
    what rounding leaves, the largest remainders get one each first.

    Args:
        total: a whole number, at most the sum of the limits.
        proportions: numbers from 0 on.
        limits: whole numbers from 0 on.

    Returns:
        A list of whole numbers whose sum is `total`.

    >>> shares(10, [3, 1, 1], [4, 9, 9])
    [4, 3, 3]
    """
    limits = np.asarray(limits, np.int64)
    # So that none is zero for ever: what is left over may have to go somewhere.
    proportions = np.asarray(proportions, np.float64)
    proportions = proportions + max(proportions.sum(), 1.0) * 1e-12
    ideal = np.zeros(limits.size)
    is_free = limits > 0
    while is_free.any():
        rest = total - limits[~is_free].sum()
        ideal = np.where(is_free, rest * proportions, limits)
        ideal[is_free] /= proportions[is_free].sum()
        is_full = is_free & (ideal >= limits)
        if not is_full.any():
            break
        is_free &= ~is_full
        ideal = np.where(is_free, ideal, limits)
    # Not above the ideal by a rounding error, so that the sum is not above the total.
    counts = np.floor(np.maximum(ideal - _ROUNDING, 0)).astype(np.int64)
    by_remainder = np.argsort(counts - ideal, kind="stable")
    with_room = by_remainder[counts[by_remainder] < limits[by_remainder]]
    counts[with_room[: total - counts.sum()]] += 1
    return counts.tolist()
