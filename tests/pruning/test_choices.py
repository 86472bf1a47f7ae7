"""Patterns, scopes, schedules and criteria by hand."""

import numpy as np
import pytest

from tfcompress import criteria, patterns, schedules, scopes
from tfcompress.core.nouns import top

EIGHT = np.array([0.3, 0.1, 0.8, 0.4, 0.2, 0.7, 0.6, 0.5])


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (8, [1, 1, 1, 1, 1, 1, 1, 1]),
        (6, [1, 0, 1, 1, 0, 1, 1, 1]),
        (4, [0, 0, 1, 0, 0, 1, 1, 1]),
        (1, [0, 0, 1, 0, 0, 0, 0, 0]),
        (0, [0, 0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_top_of_eight(kept, expected):
    np.testing.assert_array_equal(top(EIGHT, kept), np.array(expected, bool))


@pytest.mark.parametrize("kept", range(9))
def test_ties_are_broken_exactly_and_early_ones_stay(kept):
    mask = top(np.ones(8), kept)
    assert mask.sum() == kept
    assert mask[:kept].all()


def test_some_ties():
    mask = top(np.array([2.0, 1.0, 2.0, 1.0, 1.0, 3.0]), 4)
    np.testing.assert_array_equal(mask, np.array([1, 1, 1, 0, 0, 1], bool))


def test_criteria():
    weight = np.array([-2.0, 0.5, 0.0])
    np.testing.assert_array_equal(criteria.L1()(weight, {}), [2.0, 0.5, 0.0])
    np.testing.assert_array_equal(criteria.L2()(weight, {}), [4.0, 0.25, 0.0])
    np.testing.assert_array_equal(
        criteria.get("magnitude")(weight, {}), [2.0, 0.5, 0.0]
    )


def test_block_pools_the_mean_and_pads_nothing_into_it():
    scores = np.array([[1.0, 2.0, 10.0], [3.0, 4.0, 20.0], [5.0, 6.0, 30.0]])
    pooled = patterns.Block(inputs=2, outputs=2).pool(scores)
    np.testing.assert_allclose(pooled, [[2.5, 15.0], [5.5, 30.0]])
    mask = patterns.Block(2, 2).spread(np.array([[True, False], [False, True]]), (3, 3))
    np.testing.assert_array_equal(
        mask, np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], bool)
    )


def test_two_of_four_along_the_inputs():
    scores = np.array(
        [
            [1.0, 8.0],
            [2.0, 7.0],
            [3.0, 6.0],
            [4.0, 5.0],
            [9.0, 1.0],
            [8.0, 2.0],
            [7.0, 3.0],
        ]
    )
    mask = patterns.NOfM(2, 4).select(scores, 1)
    np.testing.assert_array_equal(mask[:, 0], np.array([0, 0, 1, 1, 1, 1, 0], bool))
    np.testing.assert_array_equal(mask[:, 1], np.array([1, 1, 0, 0, 0, 1, 1], bool))
    assert patterns.NOfM(2, 4).select(scores, scores.size).all()


def test_filter_is_the_last_axis():
    scores = np.arange(2 * 2 * 3.0).reshape(2, 2, 3)
    np.testing.assert_allclose(patterns.Filter().pool(scores), [4.5, 5.5, 6.5])
    mask = patterns.Filter().spread(np.array([True, False, True]), (2, 2, 3))
    assert mask[..., [0, 2]].all()
    assert not mask[..., 1].any()


def test_local_gives_each_weight_the_same_share():
    scores = [np.zeros(8), np.zeros(3)]
    assert scopes.Local()(scores, [(8,), (3,)], 0.5) == [4, 1]
    assert scopes.Local()(scores, [(8,), (3,)], 0.99) == [1, 1]
    assert scopes.Local(min_density=0.5)(scores, [(8,), (3,)], 0.9) == [4, 2]


def test_global_removes_the_lowest_everywhere():
    scores = [np.array([1.0, 5.0, 6.0]), np.array([2.0, 3.0, 7.0])]
    shapes = [(3,), (3,)]
    assert scopes.Global()(scores, shapes, 0.5) == [2, 1]
    # Ties: the earlier weight's elements stay.
    ones = [np.ones(4), np.ones(4)]
    assert scopes.Global()(ones, [(4,), (4,)], 0.25) == [4, 2]


def test_global_keeps_a_floor_in_each_weight():
    scores = [np.full(100, 1.0), np.full(100, 9.0)]
    shapes = [(100,), (100,)]
    assert scopes.Global(min_density=0.0)(scores, shapes, 0.5) == [1, 99]
    assert scopes.Global(min_density=0.2)(scores, shapes, 0.5) == [20, 80]


def test_global_with_groups_of_different_sizes_fills_the_budget_with_whole_groups():
    scores = [np.array([4.0, 1.0]), np.array([3.0, 2.0, 0.5])]
    shapes = [(10, 2), (4, 3)]
    # 32 weights, 16 may stay: 10 of the first group, then 4, then no other fits.
    assert scopes.Global()(scores, shapes, 0.5) == [1, 1]


def test_erdos_renyi_by_hand():
    shapes = [(10, 10), (100, 100)]
    scores = [np.zeros(shape) for shape in shapes]
    kept = scopes.ErdosRenyi()(scores, shapes, 0.9)
    # Both densities are ε (n_in + n_out) / (n_in n_out): 0.2 ε and 0.02 ε, that is
    # 20 ε and 200 ε weights of 1010: ε = 4.5909, 91.8 and 918.2 weights.
    assert kept == [92, 918]
    # A density that would exceed 1 is 1, and the other weights share the rest.
    assert scopes.ErdosRenyi()(scores, shapes, 0.8) == [100, 1920]


@pytest.mark.parametrize(
    "scope", [scopes.Global(), scopes.ErdosRenyi(), scopes.ErdosRenyiKernel()]
)
@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.99, 0.999])
def test_counts_of_the_whole_are_exact_whatever_the_sizes(scope, sparsity):
    shapes = [(300, 257), (3, 3, 1, 4), (257, 100), (2, 1)]
    random = np.random.default_rng(0)
    scores = [random.random(shape) for shape in shapes]
    kept = scope(scores, shapes, sparsity)
    total = sum(s.size for s in scores)
    assert sum(kept) == total - scopes.rounded(sparsity * total)
    assert all(1 <= k <= s.size for k, s in zip(kept, scores, strict=True))


def test_erdos_renyi_keeps_the_sparsity_above_its_floors():
    shapes = [(10, 10), (100, 100)]
    scores = [np.zeros(shape) for shape in shapes]
    # 101 stay: without a floor 9 and 92.
    assert scopes.ErdosRenyi()(scores, shapes, 0.99) == [9, 92]
    assert scopes.ErdosRenyi(min_density=0.3)(scores[:1], shapes[:1], 0.9) == [30]
    assert scopes.ErdosRenyi(min_density=0.005)(scores, shapes, 0.99) == [9, 92]


def test_erdos_renyi_kernel_counts_the_receptive_field():
    shapes = [(3, 3, 8, 8), (1, 1, 24, 24)]
    scores = [np.zeros(shape) for shape in shapes]
    # (3+3+8+8) / 576 against (1+1+24+24) / 576 of equal sizes: 22 to 50.
    kept = scopes.ErdosRenyiKernel()(scores, shapes, 0.5)
    assert sum(kept) == 576
    assert kept[0] / kept[1] == pytest.approx(22 / 50, rel=0.01)


@pytest.mark.parametrize("value", [-0.1, 1.0, 2, "half", None])
def test_sparsity_out_of_range(value):
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        schedules.Constant(value)
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        schedules.Polynomial(final_sparsity=value, begin_step=0, end_step=1)


def test_polynomial_formula():
    schedule = schedules.Polynomial(
        initial_sparsity=0.2, final_sparsity=0.8, begin_step=10, end_step=30, power=3
    )
    assert schedule(9) == 0.0
    assert schedule(10) == pytest.approx(0.2)
    assert schedule(20) == pytest.approx(0.8 - 0.6 * 0.5**3)
    assert schedule(30) == schedule(99) == pytest.approx(0.8)


def test_polynomial_is_due_at_the_begin_the_rhythm_and_the_end():
    schedule = schedules.Polynomial(
        final_sparsity=0.5, begin_step=5, end_step=12, frequency=3
    )
    due = [step for step in range(30) if schedule.due(step - 1, step)]
    assert due == [5, 8, 11, 12]
    assert schedule.due(0, 100)
    assert not schedule.due(12, 100)


def test_iterative_prunes_the_same_share_of_what_is_left():
    schedule = schedules.Iterative(
        final_sparsity=0.875, rounds=3, steps_per_round=10, begin_step=5
    )
    assert [schedule(s) for s in (4, 5, 15, 25, 99)] == pytest.approx(
        [0, 0.5, 0.75, 0.875, 0.875]
    )
    assert [s for s in range(60) if schedule.due(s - 1, s)] == [5, 15, 25]


def test_one_shot_and_constant():
    assert [s for s in range(9) if schedules.OneShot(0.5, step=4).due(s - 1, s)] == [4]
    renewing = schedules.Constant(0.5, begin_step=2, frequency=3)
    assert [s for s in range(9) if renewing.due(s - 1, s)] == [2, 5, 8]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: schedules.Polynomial(final_sparsity=0.5, begin_step=5, end_step=5),
            "after begin_step=5",
        ),
        (lambda: schedules.Constant(0.5, begin_step=-1), "at least 0"),
        (lambda: patterns.NOfM(4, 4), "1 <= n < m"),
        (lambda: patterns.Block(0, 2), "positive integer"),
        (lambda: scopes.Global(min_density=1.5), "min_density"),
        (lambda: schedules.get("polynomial"), "missing: final_sparsity"),
        (lambda: patterns.get("filtre"), "Did you mean 'filter'"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_kernels_are_pooled_over_their_positions():
    scores = np.arange(16.0).reshape(2, 2, 2, 2)
    kernel = patterns.Kernel()
    np.testing.assert_array_equal(kernel.pool(scores), [[6.0, 7.0], [8.0, 9.0]])
    mask = kernel.spread(np.array([[True, False], [False, True]]), scores.shape)
    np.testing.assert_array_equal(mask.sum(axis=(0, 1)), [[4, 0], [0, 4]])


@pytest.mark.parametrize(
    ("stride", "best", "kept"),
    [(2, (0, 0), 6), (2, (1, 1), 4), (3, (2, 0), 2), (9, (3, 2), 1)],
)
def test_strided_patterns_keep_the_best_offset(stride, best, kept):
    scores = np.zeros((4, 5))
    scores[best] = 1.0
    mask = patterns.Strided(stride).select(scores, 5)
    rows, columns = (
        range(offset, size, stride)
        for offset, size in zip(
            (best[0] % stride, best[1] % stride), scores.shape, strict=True
        )
    )
    np.testing.assert_array_equal(
        np.argwhere(mask), [[r, c] for r in rows for c in columns]
    )
    assert mask.sum() == kept


@pytest.mark.parametrize("stride", [1, 2.0, "2"])
def test_strides_that_are_none(stride):
    with pytest.raises(ValueError, match="stride"):
        patterns.Strided(stride)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, -1), (1, -1), (2, 2), (4, 2), (5, 5), (8, 8), (9, 9), (99, 9)],
)
def test_when_a_schedule_was_due_last(step, expected):
    schedule = schedules.Polynomial(
        final_sparsity=0.5, begin_step=2, end_step=9, frequency=3
    )
    assert schedule.last_due(step) == expected
