import itertools
from fractions import Fraction

import numpy as np
import pytest

from tfcompress import native
from tfcompress.transforms.clustering import optimal_clusters
from tfcompress.transforms.codebook import cluster


@pytest.fixture(params=["native", "numpy"])
def solver(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(native, "library", lambda: None)
    elif native.library() is None:
        pytest.skip("the native library is not built")
    return request.param


def exact_error(points, assignments):
    points = np.array([Fraction(float(p)) for p in np.ravel(points)], object)
    groups = [points[assignments == c] for c in np.unique(assignments)]
    return sum(((g - g.sum() / len(g)) ** 2).sum() for g in groups)


def smallest_error(points, num_clusters):
    """By trying all cuts, in rational numbers."""
    points = np.sort(np.ravel(points))
    cuts = itertools.combinations(range(1, points.size), num_clusters - 1)
    labels = (np.searchsorted(c, np.arange(points.size), side="right") for c in cuts)
    return min(exact_error(points, label) for label in labels)


def squared_error(points, values, assignments):
    return np.square(points.astype("float64") - values[assignments]).sum()


def test_clusters_by_hand(solver):
    # {0, 1}, {4, 4, 4, 6}, {20}: 0.5 + 3 + 0; {0, 1, 4, 4, 4}, {6} would cost 15.2.
    points = np.array([[4.0, 0, 20, 4], [6, 1, 4, 20]])
    values, assignments = optimal_clusters(points, 3)
    np.testing.assert_array_equal(values, [0.5, 4.5, 20.0])
    np.testing.assert_array_equal(assignments, [1, 0, 2, 1, 1, 0, 1, 2])


DRAWS = {
    "normal": lambda random: random.normal(size=9),
    "duplicates": lambda random: random.integers(-4, 5, 9).astype(float),
    "offset": lambda random: 1e9 + random.normal(size=9),
    "far apart": lambda random: (
        random.choice([-1e9, 0, 1e9], 9) + random.normal(size=9)
    ),
    "outliers": lambda random: random.standard_cauchy(9) ** 3,
    "ties": lambda random: np.repeat([0.0, 10, 20], 3) + np.tile([0.0, 1, 2], 3),
    "tiny": lambda random: random.normal(size=9) * 1e-300,
    "huge": lambda random: random.normal(size=9) * 1e300,
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_no_cuts_are_better(solver, draw):
    if solver == "numpy" and draw is DRAWS["far apart"]:
        pytest.skip("NumPy's solver measures from one centre: see its docstring")
    for seed in range(5):
        points = draw(np.random.default_rng(seed))
        for num_clusters in range(1, np.unique(points).size):
            values, assignments = optimal_clusters(points, num_clusters)
            assert (np.diff(values) > 0).all()
            error = exact_error(points, assignments)
            best = smallest_error(points, num_clusters)
            assert error <= best * (
                1 + Fraction(1, 10**6 if solver == "numpy" else 10**12)
            )


@pytest.mark.parametrize("num_clusters", [2, 15, 100])
def test_native_and_numpy_agree_and_beat_lloyd(monkeypatch, num_clusters):
    points = np.random.default_rng(0).standard_t(4, 3000).astype("float32")
    errors = {"lloyd": squared_error(points, *cluster(points, num_clusters))}
    errors["native"] = squared_error(points, *optimal_clusters(points, num_clusters))
    monkeypatch.setattr(native, "library", lambda: None)
    errors["numpy"] = squared_error(points, *optimal_clusters(points, num_clusters))
    assert errors["native"] == pytest.approx(errors["numpy"], rel=1e-9)
    assert errors["native"] <= errors["lloyd"]


def test_many_points():
    if native.library() is None:
        pytest.skip("the native library is not built")
    # The k-th of n evenly spaced points: k equal runs, (m³ - m) / 12 each.
    points = np.random.default_rng(0).permutation(2**19).astype("float32")
    values, assignments = optimal_clusters(points, 64)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(np.bincount(assignments), np.full(64, 2**13))
    np.testing.assert_array_equal(assignments, points // 2**13)


@pytest.mark.parametrize("points", [[], [2.0], [2.0, 2.0], [3, 1, 2, 1]])
def test_few_distinct_points_are_their_own_values(solver, points):
    values, assignments = optimal_clusters(points, 4)
    assert values.shape == (4,)
    assert assignments.dtype == np.int32
    np.testing.assert_array_equal(values[assignments], points)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_what_has_no_mean(bad):
    with pytest.raises(ValueError, match="NaN or infinite"):
        optimal_clusters(np.array([1.0, bad, 2.0], "float32"), 2)


def test_refuses_no_clusters():
    with pytest.raises(ValueError, match="at least 1"):
        optimal_clusters([1.0], 0)


def test_refuses_too_much_for_numpy(monkeypatch):
    monkeypatch.setattr(native, "library", lambda: None)
    with pytest.raises(ValueError, match="native library"):
        optimal_clusters(np.arange(2**20), 256)
