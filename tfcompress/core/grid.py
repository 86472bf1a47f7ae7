"""Finds the integer grid that weights lie on, if there is one."""

import numpy as np

_TOLERANCE = 1e-3


def integer_grid(matrix, max_level=127):
    """The scale of each column for which all its weights are whole numbers.

    For each column this finds the smallest `k <= max_level` such that `w k / max|w|` is
    whole for all its weights; the scale is `max|w| / k`. This recovers trained grids
    from the values alone, however the weights were made.

    Args:
        matrix: array `(elements, columns)`.
        max_level: the largest allowed whole number.

    Returns:
        `(scales, levels)`, arrays `(columns,)`; level 0 and scale 0 if there is no such
        grid. An all-zero column has level 1 and scale 0.

    >>> scales, levels = integer_grid(np.array([[0.5, 0.1], [-1.0, 0.2], [0.0, 0.33]]))
    >>> scales, levels
    (array([0.5 , 0.01]), array([ 2, 33]))
    """
    matrix = np.asarray(matrix, np.float64)
    peak = np.abs(matrix).max(axis=0, initial=0.0)
    unit = matrix / np.where(peak > 0, peak, 1.0)
    # A few elements rule out nearly every candidate, so the rest is rarely checked.
    sample = unit[np.linspace(0, len(unit) - 1, min(len(unit), 16), dtype=int)]
    levels = np.zeros(matrix.shape[1], int)
    levels[peak == 0] = 1
    for k in range(1, max_level + 1):
        open_columns = np.flatnonzero(levels == 0)
        likely = open_columns[_whole(sample[:, open_columns] * k)]
        levels[likely[_whole(unit[:, likely] * k)]] = k
    return np.where(levels > 0, peak / np.maximum(levels, 1), 0.0), levels


def _whole(values):
    return np.all(np.abs(values - np.rint(values)) < _TOLERANCE, axis=0)


def bits_of_level(level):
    """Bits of the symmetric narrow-range integer that can hold `level`.

    >>> bits_of_level(1), bits_of_level(7), bits_of_level(127)
    (2, 4, 8)
    """
    return int(level).bit_length() + 1
