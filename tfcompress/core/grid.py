"""Finds the integer grid that weights lie on, if there is one."""

import dataclasses

import numpy as np

_TOLERANCE = 1e-3
# Relative error of numbers in single precision, after a few operations.
_SINGLE = 1e-6


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


@dataclasses.dataclass(frozen=True)
class BlockGrid:
    """Weights as whole numbers, with a step and an offset for each block of inputs.

        w[r, i] = scales[r, b] (codes[r, i] + offsets[r, b]),    b = i // block_size

    Attributes:
        codes: whole numbers, `(rows, inputs)`.
        scales: positive numbers, `(rows, blocks)`.
        offsets: whole numbers, likewise; zero if the grid is symmetric around zero.
    """

    codes: np.ndarray
    scales: np.ndarray
    offsets: np.ndarray

    @property
    def block_size(self):
        """Number of consecutive inputs that share a step."""
        return self.codes.shape[1] // self.scales.shape[1]


def block_grid(matrix, block_size, low=-8, high=7):
    """The `BlockGrid` on which all weights of a matrix lie, None if there is none.

    Of the possible steps of a block, one is preferred that bfloat16 represents exactly,
    since files store the steps of blocks in 16 bits.

    Args:
        matrix: array `(rows, inputs)`.
        block_size: divides `inputs`.
        low: the smallest code.
        high: the largest code.

    >>> grid = block_grid(np.array([[0.5, -1.5, 0.25, 0.5], [0.0, 0.0, 3.0, 5.0]]), 2)
    >>> grid.codes.tolist(), grid.scales.tolist()
    ([[1, -3, 1, 2], [0, 0, 3, 5]], [[0.5, 0.25], [1.0, 1.0]])
    >>> block_grid(np.array([[9.0, 10.0, 12.0]]), 3).offsets  # 4 * 3 - 5 = 7
    array([[5.]])
    """
    rows = len(matrix)
    blocks = np.asarray(matrix, np.float64).reshape(-1, block_size)
    scales, levels = integer_grid(blocks.T, high - low)
    if not levels.all():
        return None
    scales = np.where(scales > 0, scales, 1.0)[:, None]
    codes = np.rint(blocks / scales)
    least, most = codes.min(axis=1, keepdims=True), codes.max(axis=1, keepdims=True)
    if np.any(most - least > high - low):
        return None
    offsets = np.maximum(most - high, 0) + np.minimum(least - low, 0)
    for finer in range(2, high + 1):
        fits = (least * finer >= low) & (most * finer <= high) & (offsets == 0)
        better = fits & ~_is_short(scales) & _is_short(scales / finer)
        factor = np.where(better, finer, 1)
        scales, codes = scales / factor, codes * factor
        least, most = least * factor, most * factor
    return BlockGrid(
        (codes - offsets).reshape(matrix.shape).astype(np.int8),
        scales.reshape(rows, -1),
        offsets.reshape(rows, -1),
    )


def _is_short(values):
    return np.abs(rounded_to_bfloat16(values) - values) <= _SINGLE * np.abs(values)


def rounded_to_bfloat16(values):
    """The nearest numbers with 8 significant bits, ties to even.

    LiteRT computes with such steps of blocks. Their exponents are not limited here.

    >>> rounded_to_bfloat16(np.array([1.0, 1.004, 300.0, 0.0]))
    array([  1.      ,   1.0078125, 300.      ,   0.      ])
    """
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.rint(mantissa * 256) / 256, exponent)
