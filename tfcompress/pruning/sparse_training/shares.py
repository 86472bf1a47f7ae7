"""Integers that add up exactly."""

import numpy as np

_ROUNDING = 1e-9


def shares(total, proportions, limits):
    """Distributes a number in proportion, with no share above its limit.

    The excess of a full share is passed on to the others, again in proportion. What
    rounding leaves goes to the largest remainders first, one each.

    Args:
        total: an integer, at most the sum of the limits.
        proportions: numbers of at least 0.
        limits: integers of at least 0.

    Returns:
        A list of integers whose sum is `total`.

    >>> shares(10, [3, 1, 1], [4, 9, 9])
    [4, 3, 3]
    """
    limits = np.asarray(limits, np.int64)
    # So that none is exactly zero: the excess may have to go there.
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
    # Rounding errors must not raise a count, so that the sum stays within the total.
    counts = np.floor(np.maximum(ideal - _ROUNDING, 0)).astype(np.int64)
    by_remainder = np.argsort(counts - ideal, kind="stable")
    with_room = by_remainder[counts[by_remainder] < limits[by_remainder]]
    counts[with_room[: total - counts.sum()]] += 1
    return counts.tolist()
