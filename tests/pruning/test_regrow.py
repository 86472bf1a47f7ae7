import numpy as np
import pytest

from tfcompress.pruning.regrow import regrow
from tfcompress.pruning.sparse_training.shares import shares

MASK = np.array([1, 1, 0, 1, 1, 0, 0, 0], bool)
DROP = np.array([4.0, 1.0, 0.0, 2.0, 3.0, 0.0, 0.0, 0.0])
GROW = np.array([0.0, 0.5, 2.0, 9.0, 9.0, 4.0, 1.0, 3.0])


@pytest.mark.parametrize(
    ("fraction", "may_return", "expected"),
    [
        (0.0, True, [1, 1, 0, 1, 1, 0, 0, 0]),
        # 1 is dropped, 5 is grown.
        (0.25, True, [1, 0, 0, 1, 1, 1, 0, 0]),
        # 1 and 3 are dropped, 3 (at 9) and 5 are grown.
        (0.5, True, [1, 0, 0, 1, 1, 1, 0, 0]),
        (0.5, False, [1, 0, 0, 0, 1, 1, 0, 1]),
        # Only 0 stays; 3, 4 and 5 are grown.
        (0.75, True, [1, 0, 0, 1, 1, 1, 0, 0]),
        (0.75, False, [1, 0, 1, 0, 0, 1, 0, 1]),
        (1.0, True, [0, 0, 0, 1, 1, 1, 0, 1]),
        (1.0, False, [0, 0, 1, 0, 0, 1, 1, 1]),
    ],
)
def test_eight_elements(fraction, may_return, expected):
    before = MASK.copy()
    count = int(fraction * 4)
    found = regrow(MASK, DROP, GROW, count, may_return=may_return)
    np.testing.assert_array_equal(found, np.array(expected, bool))
    np.testing.assert_array_equal(before, MASK)


def test_of_equal_scores_the_earlier_element_is_there():
    flat = np.zeros(8)
    found = regrow(MASK, flat, flat, 2, may_return=False)
    np.testing.assert_array_equal(np.flatnonzero(found), [0, 1, 2, 5])


def test_more_can_come_than_go_in_any_shape():
    shape = (2, 2, 2)
    found = regrow(*(a.reshape(shape) for a in (MASK, DROP, GROW)), 1, 3)
    expected = np.array([1, 0, 1, 1, 1, 1, 0, 1], bool).reshape(shape)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("counts", [(5, 5), (-1, 0), (0, 5), (2, -1)])
def test_counts_that_there_are_not(counts):
    with pytest.raises(ValueError, match="expected one from 0 to"):
        regrow(MASK, DROP, GROW, *counts)


@pytest.mark.parametrize(
    ("total", "proportions", "limits", "expected"),
    [
        (8, [1, 3], [9, 9], [2, 6]),
        (3, [1, 1], [9, 9], [2, 1]),
        (8, [1, 3], [9, 4], [4, 4]),
        (6, [0, 0, 0], [9, 9, 9], [2, 2, 2]),
        (6, [1, 0, 0], [2, 9, 9], [2, 2, 2]),
        (7, [5, 1], [3, 4], [3, 4]),
        (0, [1, 1], [0, 5], [0, 0]),
        (4, [9, 1], [0, 5], [0, 4]),
    ],
)
def test_shares(total, proportions, limits, expected):
    assert shares(total, proportions, limits) == expected


def test_shares_add_up_within_their_limits():
    generator = np.random.default_rng(0)
    for _ in range(200):
        limits = generator.integers(0, 50, 6)
        total = generator.integers(0, limits.sum() + 1)
        found = shares(total, generator.random(6) ** 8, limits)
        assert sum(found) == total
        assert np.all((np.array(found) >= 0) & (found <= limits))
