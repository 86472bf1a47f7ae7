import numpy as np
import pytest

from tfcompress.factorization.ranks import (
    EVBMF,
    Energy,
    Fixed,
    Fraction,
    Rank,
    TargetMacs,
    full_ranks,
)


def diagonal(*values):
    return np.diag(np.array(values, float))


def noisy(rank, shape=(48, 80), noise=0.1, seed=0):
    generator = np.random.default_rng(seed)
    left, right = (generator.normal(size=(size, rank)) for size in shape)
    return left @ right.T + noise * generator.normal(size=shape)


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        (3, Fixed(3)),
        (np.int64(3), Fixed(3)),
        ([3, 4], Fixed((3, 4))),
        (0.5, Fraction(0.5)),
        (1.0, Fraction(1.0)),
        (np.float32(0.5), Fraction(0.5)),
        ("evbmf", EVBMF()),
        ({"energy": {"energy": 0.8}}, Energy(0.8)),
        (TargetMacs, TargetMacs()),
        (Energy(0.7), Energy(0.7)),
    ],
)
def test_numbers_names_and_objects(identifier, expected):
    assert Rank.get(identifier) == expected


def test_an_unknown_name_gets_a_hint():
    with pytest.raises(ValueError, match=r"Unknown rank 'evbm'.*mean 'evbmf'"):
        Rank.get("evbm")


@pytest.mark.parametrize("rank", [0, -1, True, (4, 0), 2.5, -0.5, 0.0, float("nan")])
def test_ranks_out_of_range(rank):
    with pytest.raises(ValueError, match="expected a"):
        Rank.get(rank)


@pytest.mark.parametrize("cls", [Fraction, Energy, TargetMacs])
@pytest.mark.parametrize("share", [0, 1.01, "half", None])
def test_shares_out_of_range(cls, share):
    with pytest.raises(ValueError, match=r"expected a number in \(0, 1\]"):
        cls(share)


def test_fixed_is_cut_at_the_full_rank_and_wants_as_many_as_there_are():
    matrices = [np.ones((8, 6)), np.ones((3, 9))]
    assert Fixed(4)(matrices) == (4, 3)
    assert Fixed((7, 2))(matrices) == (6, 2)
    with pytest.raises(ValueError, match=r"has 3 ranks.*needs 2"):
        Fixed((1, 2, 3))(matrices)


@pytest.mark.parametrize(
    ("fraction", "rank"),
    # Less than one component of six is no rank: all stay.
    [(1.0, 6), (0.5, 3), (0.4, 2), (0.2, 1), (0.16, 6), (0.01, 6)],
)
def test_fraction_by_hand(fraction, rank):
    assert Fraction(fraction)([np.ones((8, 6))]) == (rank,)


# Squares: 16, 4, 4, 1; sums 16, 20, 24, 25.
@pytest.mark.parametrize(
    ("energy", "rank"),
    [(0.01, 1), (0.64, 1), (0.65, 2), (0.8, 2), (0.9, 3), (0.96, 3), (0.97, 4), (1, 4)],
)
def test_energy_by_hand(energy, rank):
    assert Energy(energy)([diagonal(2, 4, 1, 2)]) == (rank,)


def test_energy_of_matrices_that_share_a_rank_is_that_of_all():
    # 9 + 1 kept at rank 1 of 10 + 2.
    stack = np.stack([diagonal(3, 1), diagonal(1, 1)])
    assert Energy(10 / 12)([stack]) == (1,)
    assert Energy(0.84)([stack]) == (2,)


def test_energy_of_a_matrix_of_low_rank_ignores_rounding():
    assert Energy(1 - 1e-12)([noisy(5, noise=0.0)]) == (5,)


# Rank r of 8 needs r / 4: two of eight fit into a half.
@pytest.mark.parametrize(("ratio", "rank"), [(0.25, 1), (0.49, 1), (0.5, 2), (1.0, 4)])
def test_target_macs_is_the_largest_that_fits(ratio, rank):
    target = TargetMacs(ratio)
    assert target([np.ones((8, 8))], macs_ratio=lambda ranks: ranks[0] / 4) == (rank,)


def test_target_macs_scales_several_ranks_together():
    target, limits = TargetMacs(0.5), (32, 64)

    def macs_ratio(ranks):
        return ranks[0] * ranks[1] / (32 * 64)

    ranks = target([None, None], limits, macs_ratio)
    assert ranks == (22, 45)  # 45/64 of both; 46/64 gives 23 * 46 > 1024
    assert macs_ratio(ranks) <= 0.5 < macs_ratio((23, 46))


def test_target_macs_out_of_reach():
    assert TargetMacs(0.5).objection(0.5) is None
    assert "even rank 1 needs 60%" in TargetMacs(0.5).objection(0.6)
    assert Fraction(0.5).objection(0.6) is None
    with pytest.raises(ValueError, match="macs_ratio"):
        TargetMacs(0.5)([np.ones((4, 4))])


@pytest.mark.parametrize("rank", [1, 3, 8])
@pytest.mark.parametrize("noise", [1e-3, 0.1, 0.3])
@pytest.mark.parametrize("shape", [(48, 80), (80, 48), (64, 64), (16, 400)])
def test_evbmf_finds_the_rank_under_noise(rank, noise, shape):
    assert EVBMF()([noisy(rank, shape, noise)]) == (rank,)


def test_evbmf_without_noise_and_without_signal():
    assert EVBMF()([noisy(4, noise=0.0)]) == (4,)
    assert EVBMF()([noisy(1, noise=1e6)]) == (1,)
    assert EVBMF()([np.zeros((6, 4))]) == (1,)


def test_evbmf_does_not_depend_on_scale():
    for scale in (1e-12, 1e12):
        assert EVBMF()([scale * noisy(5)]) == (5,)


def test_evbmf_of_a_stack_is_the_largest():
    stack = np.stack([noisy(2), np.zeros((48, 80)), noisy(6)])
    assert EVBMF()([stack]) == (6,)


def test_evbmf_minimises_the_free_energy():
    """Compares with the closed form, minimised over a hundred thousand variances."""
    for seed, (rank, noise) in enumerate([(3, 1.0), (6, 2.0), (10, 3.0)]):
        matrix = noisy(rank, (30, 40), noise, seed)
        energies = np.linalg.svd(matrix, compute_uv=False) ** 2 / 40
        alpha = 30 / 40
        tau = 2.5129 * alpha**0.5
        threshold = (1 + tau) * (1 + alpha / tau)
        variances = np.geomspace(energies.min() / threshold, energies.mean(), 100_000)
        x = energies / variances[:, None]
        shifted = np.maximum(x, threshold) - 1 - alpha
        t = (shifted + np.sqrt(shifted**2 - 4 * alpha)) / 2
        gain = np.log(t + 1) + alpha * np.log(t / alpha + 1) - t
        free_energy = (x - np.log(x) + gain * (x > threshold)).sum(axis=1)
        best = variances[free_energy.argmin()]
        expected = max(1, np.count_nonzero(energies > threshold * best))
        assert EVBMF()([matrix]) == (expected,)


def test_full_ranks():
    assert full_ranks([np.ones((3, 9, 4)), np.ones((2, 7))]) == (4, 2)
