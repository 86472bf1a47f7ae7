"""Evolution by a learned predictor."""

import itertools

import numpy as np
import pytest

import tfcompress as tfc
from tests.search import problems
from tfcompress.search.engines.apq import Breeder, Predictor, evolved, one_hot
from tfcompress.search.knapsack import Cost


def breeder(limit, seed=0):
    """A breeder for six rows with four choices; only the first five rows have costs."""
    cost = Cost(limit, constant=1.0)
    for row in range(4):
        cost.add((row,), [8.0, 6.0, 3.0, 1.0])
    cost.add((3, 4), np.outer([4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 2.0, 1.0]))
    return Breeder(np.full(6, 4), [cost], np.random.default_rng(seed)), cost


def test_one_hot_by_hand():
    found = one_hot(np.array([2, 0, 1]), np.array([3, 1, 2]))
    assert found.tolist() == [0, 0, 1, 1, 0, 1]


class TestBreeder:
    def test_random_members_end_at_the_limit(self):
        breeds, cost = breeder(20.0)
        every = np.ones(6, bool)
        found = [breeds.drawn(every) for _ in range(50)]
        for places in found:
            assert places.min() >= 0 and places.max() <= 3
            # A step saves at most 4 in each of two terms.
            assert 20 - 7 < cost(places) <= 20
            # Rows without costs do not change.
            assert places[5] == 0
        assert len({tuple(places) for places in found}) > 20

    def test_part_of_the_way(self):
        breeds, cost = breeder(20.0)
        every = np.ones(6, bool)
        # The whole model costs 1 + 4 * 8 + 16 = 49.
        assert not breeds.drawn(every, part=0.0).any()
        costs = [cost(breeds.drawn(every, part=0.5)) for _ in range(20)]
        assert max(costs) <= 34.5 and min(costs) > 34.5 - 7

    def test_only_some_rows_move_as_far_as_they_can(self):
        breeds, _ = breeder(20.0)
        first = np.arange(6) == 0
        assert breeds.drawn(first).tolist() == [3, 0, 0, 0, 0, 0]

    def test_children_are_repaired(self):
        breeds, cost = breeder(20.0)
        parents = [np.zeros(6, int), np.array([3, 3, 3, 3, 3, 0])]
        children = [breeds.crossed(parents) for _ in range(50)]
        children += [breeds.mutated(parents) for _ in range(50)]
        assert max(map(cost, children)) <= 20

    def test_crossed_choices_are_either_parents(self):
        breeds, _ = breeder(100.0)
        parents = [np.zeros(6, int), np.full(6, 2)]
        values = {v for _ in range(20) for v in breeds.crossed(parents).tolist()}
        assert values == {0, 2}

    def test_a_tenth_is_mutated(self):
        breeds, _ = breeder(100.0)
        children = np.array([breeds.mutated([np.zeros(6, int)]) for _ in range(2000)])
        # A quarter of these are redrawn as they were.
        assert np.mean(children > 0) == pytest.approx(0.075, abs=0.01)


def test_evolution_finds_the_best_within_the_limit():
    breeds, cost = breeder(20.0)
    values = np.random.default_rng(3).uniform(0.1, 1, (6, 4)).cumsum(axis=1)

    def predict(population):
        return -np.array([values[range(6), places].sum() for places in population])

    fitting = [p for p in itertools.product(range(4), repeat=6) if cost(p) <= 20]
    population = evolved(breeds, predict, rounds=30)
    assert predict(population[:1])[0] == predict(fitting).max()
    assert all(cost(places) <= 20 for places in population)
    assert np.all(np.diff(predict(population)) <= 0)
    assert len({tuple(places) for places in population}) == len(population)


class TestPredictor:
    def drawn(self, count):
        generator = np.random.default_rng(count)
        places = generator.integers(4, size=(count, 4))
        return places, 5 + (places * [1.0, 2.0, 0.5, 0.0]).sum(axis=1)

    def test_learns_a_sum_and_transfers_it(self):
        places, wanted = self.drawn(60)
        few = places[:4], wanted[:4] - 1
        transferred, fresh = (Predictor(np.full(4, 4), seed=0) for _ in range(2))
        transferred.train(places, wanted)
        others, expected = self.drawn(40)
        error = np.mean(np.square(transferred(others) - expected))
        assert error < 0.05 * np.var(expected)
        transferred.train(*few)
        fresh.train(*few)
        errors = [
            np.mean(np.square(predictor(others) - expected + 1))
            for predictor in (transferred, fresh)
        ]
        assert errors[0] < 0.5 * errors[1]

    def test_scores_that_are_not_finite_count_as_the_lowest(self):
        places, wanted = self.drawn(20)
        known = np.where(wanted == wanted.max(), -np.inf, wanted)
        lowest = np.where(wanted == wanted.max(), wanted.min(), wanted)
        found = []
        for scores in (known, lowest):
            predictor = Predictor(np.full(4, 4), seed=0)
            predictor.train(places, scores)
            found.append(predictor(places))
        np.testing.assert_array_equal(*found)


def test_finds_what_is_noise_and_uniform_does_not():
    study = problems.study_with_noise()
    limits = problems.limits_of(study, macs=0.6)
    engine = tfc.search.engines.APQ(20, 10, 4, refinements=3, rounds=10)
    found = engine.propose(study, limits)
    uniform = tfc.search.engines.Uniform().propose(study, limits)
    assert found == problems.BEST
    assert study.score(found) == 1 > study.score(uniform)


class TestJoint:
    @pytest.fixture(scope="class")
    def found(self):
        x = np.random.default_rng(1).normal(size=(64, 8)).astype("float32")
        model = problems.with_noise()
        dimensions = {"channels": (0.25, 0.5, 0.75), "bits": (4, 2)}

        def run():
            study = problems.Scored(model, dimensions, x, np.argmax(model(x), axis=1))
            limits = problems.limits_of(study, macs=0.7, kernel_bytes=0.5)
            engine = tfc.search.engines.APQ(8, 6, 3, refinements=1, rounds=3)
            return study, limits, engine, engine.propose(study, limits)

        return run(), run()

    def test_structure_first_then_few_with_all(self, found):
        (study, _, _, _), _ = found
        assert 9 < len(study.asked) <= 8 + 6 + 3
        stored = [set(member["bits"].values()) for member in study.asked]
        first = next(i for i, bits in enumerate(stored) if bits != {8})
        assert 4 <= first <= 8
        assert sum(bits != {8} for bits in stored) >= 4

    def test_proposes_the_best_that_was_scored(self, found):
        (study, limits, _, member), _ = found
        within = [m for m in study.asked if study.proxy.is_within(m, limits)]
        assert study.score(member) == max(map(study.score, within))
        assert study.proxy.is_within(member, limits)

    def test_same_seed_same_member(self, found):
        (study, _, _, member), (again, _, _, same) = found
        assert same == member
        assert again.asked == study.asked

    def test_tighter_limits_only_score_new_finalists(self, found):
        (study, limits, engine, _), _ = found
        before = len(study.asked)
        tighter = {name: 0.95 * limit for name, limit in limits.items()}
        member = engine.propose(study, tighter)
        assert study.proxy.is_within(member, tighter)
        assert len(study.asked) <= before + 3


def test_none_if_nothing_is_within_the_limits():
    study = problems.study_with_noise()
    engine = tfc.search.engines.APQ()
    assert engine.propose(study, problems.limits_of(study, macs=0.01)) is None
