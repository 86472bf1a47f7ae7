"""One choice for each row within budgets."""

import itertools

import numpy as np
import pytest

from tfcompress.search.knapsack import Cost, choose

SIZES = (3, 2, 4, 3)


@pytest.mark.parametrize("seed", range(8))
def test_the_choice_is_the_best_of_all(seed):
    generator = np.random.default_rng(seed)
    harms = [generator.random(size) for size in SIZES]
    everything = list(itertools.product(*map(range, SIZES)))
    costs = []
    for terms in ([(0,), (0, 1), (1, 2), (0, 2, 3)], [(1,), (2, 3)]):
        cost = Cost(limit=0, constant=generator.random())
        for rows in terms:
            cost.add(rows, generator.random([SIZES[row] for row in rows]))
        cost.limit = np.quantile([cost(choice) for choice in everything], 0.4)
        costs.append(cost)
    within = [c for c in everything if all(cost(c) <= cost.limit for cost in costs)]
    best = min(sum(h[i] for h, i in zip(harms, c, strict=True)) for c in within)
    found = choose(harms, costs)
    assert tuple(found) in within
    assert sum(h[i] for h, i in zip(harms, found, strict=True)) == pytest.approx(best)


def test_what_no_choice_reaches_is_none():
    cost = Cost(limit=1.9)
    cost.add((0, 1), [[4, 3], [3, 2]])
    assert choose([[0, 1], [0, 1]], [cost]) is None
    cost.limit = 2
    assert choose([[0, 1], [0, 1]], [cost]) == [1, 1]


def test_terms_of_the_same_rows_add_up():
    cost = Cost(limit=10, constant=1)
    cost.add((0,), [1, 2])
    cost.add((0,), [10, 20])
    assert cost([0]) == 12
    assert cost([1]) == 23


def test_no_budget_is_no_harm_at_all():
    assert choose([[3, 1, 2], [0, 5]], []) == [1, 0]
