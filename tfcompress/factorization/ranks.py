"""Chooses how many components a factorisation keeps."""

import bisect
import math
import numbers

import numpy as np

from tfcompress.core.kinds import Each, Integer, Number
from tfcompress.core.nouns import Rank
from tfcompress.core.plugin import register


class Fixed(Rank):
    """The same rank for every layer.

    `r_i = min(rank_i, limit_i)`

    Args:
        rank: positive integer, or a tuple with one per rank of the factorisation.

    Raises:
        ValueError: if it is not a positive integer; on call, if the length of a tuple
            differs from the number of ranks.

    Example:
        >>> Fixed(4)([np.ones((8, 6)), np.ones((8, 3))])
        (4, 3)
    """

    stands_for = (numbers.Integral, list, tuple)

    def __init__(
        self,
        rank: Integer(1)
        | Each(
            Integer(1),
            "positive integers, one per rank of the factorisation",
            least=1,
        ) = 8,
    ):
        self.rank = rank if isinstance(rank, int) else tuple(rank)

    def __call__(self, matrices, limits=None, macs_ratio=None):
        limits = limits or full_ranks(matrices)
        ranks = self.rank if isinstance(self.rank, tuple) else (self.rank,)
        if len(ranks) == 1:
            ranks *= len(limits)
        if len(ranks) != len(limits):
            raise ValueError(
                f"{self!r} has {len(ranks)} ranks, but this factorisation needs "
                f"{len(limits)}. Pass as many, or one integer for all."
            )
        return tuple(map(min, ranks, limits))


class Fraction(Rank):
    """A fraction of the full rank.

    `r_i = round(fraction limit_i)`; if the fraction is less than one component, such as a
    quarter of 3 colours or classes, the axis keeps all components.

    Args:
        fraction: in (0, 1]; 1 is exact.

    Raises:
        ValueError: if the fraction is not in (0, 1].

    Example:
        >>> Fraction(0.5)([np.ones((8, 6)), np.ones((8, 3))])
        (3, 2)
        >>> Fraction(0.25)([np.ones((8, 6)), np.ones((8, 3))])
        (2, 3)
    """

    stands_for = (numbers.Real,)

    def __init__(self, fraction: Number(above=0, most=1) = 0.5):
        self.fraction = fraction

    def __call__(self, matrices, limits=None, macs_ratio=None):
        limits = limits or full_ranks(matrices)
        ranks = _at_fraction(self.fraction, limits)
        return tuple(
            rank if self.fraction * limit >= 1 else limit
            for rank, limit in zip(ranks, limits, strict=True)
        )


class Energy(Rank):
    """The smallest rank that keeps a share of the squared singular values.

    `r = min {r : Σ_{i≤r} σ_i² ≥ energy Σ_i σ_i²}`, so a single truncated SVD has a relative
    error of at most `sqrt(1 - energy)`. Matrices that share a rank share the sum. With
    several ranks, each keeps this share of its own unfolding; the squared error of the
    kernel is at most the sum of their losses.

    Args:
        energy: share to keep, in (0, 1].

    Raises:
        ValueError: if the energy is not in (0, 1].

    Example:
        >>> Energy(0.9)([np.diag([3.0, 1.0])]), Energy(0.91)([np.diag([3.0, 1.0])])
        ((1,), (2,))
    """

    def __init__(self, energy: Number(above=0, most=1) = 0.9):
        self.energy = energy

    def __call__(self, matrices, limits=None, macs_ratio=None):
        limits = limits or full_ranks(matrices)
        return tuple(
            min(self._rank(matrix), limit)
            for matrix, limit in zip(matrices, limits, strict=True)
        )

    def _rank(self, matrix):
        energies = singular_values(matrix) ** 2
        kept = np.cumsum(energies.reshape(-1, energies.shape[-1]).sum(axis=0))
        # The sum of n numbers has an error of up to about n roundings.
        wanted = self.energy * kept[-1] * (1 - kept.size * np.finfo(float).eps)
        return int(np.searchsorted(kept, wanted)) + 1


class TargetMacs(Rank):
    """The largest rank with which the new layers meet a ratio of the layer's MACs.

    Several ranks are the same fraction of their limits. A layer that needs more even with
    ranks of 1 is not replaced.

    Args:
        ratio: MACs after / MACs before, in (0, 1].

    Raises:
        ValueError: if the ratio is not in (0, 1]; on call, without `macs_ratio`.

    Example:
        >>> dense = np.ones((8, 8))  # 64 MACs; two layers of rank r need 16 r
        >>> TargetMacs(0.5)([dense], macs_ratio=lambda ranks: 16 * ranks[0] / 64)
        (2,)
    """

    def __init__(self, ratio: Number(above=0, most=1) = 0.5):
        self.ratio = ratio

    def __call__(self, matrices, limits=None, macs_ratio=None):
        if macs_ratio is None:
            raise ValueError(
                "TargetMacs needs macs_ratio, a function from the ranks to the ratio "
                "of MACs to those of the layer; got None."
            )
        limits = limits or full_ranks(matrices)
        fractions = np.unique(
            np.concatenate([np.arange(1, limit + 1) / limit for limit in limits])
        )
        fitting = bisect.bisect_right(
            fractions,
            self.ratio,
            key=lambda fraction: macs_ratio(_at_fraction(fraction, limits, math.floor)),
        )
        return _at_fraction(fractions[max(fitting - 1, 0)], limits, math.floor)

    def objection(self, least_ratio):
        if least_ratio <= self.ratio:
            return None
        return (
            f"even rank 1 needs {least_ratio:.0%} of the MACs, but {self.ratio:.0%} "
            "are requested"
        )


class EVBMF(Rank):
    """The number of components above the noise: empirical variational Bayes.

    The matrix (`L x M`, `L ≤ M`, `α = L / M`) is modelled as a product of two random
    factors plus Gaussian noise of variance `σ²`. In closed form, a component with the
    singular value `γ` stays if `γ² > M σ² x̲`, where `x̲ = (1 + τ)(1 + α / τ)` and
    `τ = 2.5129 sqrt(α)`. The variance minimises the free energy `Σ_h ψ(γ_h² / (M σ²))`,
    where `ψ(x) = x - log x` plus, above `x̲`,
    `log(τ(x) + 1) + α log(τ(x) / α + 1) - τ(x)` with
    `τ(x) = (x - 1 - α + sqrt((x - 1 - α)² - 4 α)) / 2`. It has several minima, so it is
    searched on a grid and then on a finer one. At least one component stays. If several
    matrices share a rank, the largest is used.

    Source: Nakajima et al., "Global Analytic Solution of Fully-observed Variational
    Bayesian Matrix Factorization" (2013), the empirical case; the closed-form
    threshold and the bounds of the variance also in "Condition for Perfect
    Dimensionality Recovery by Variational Bayesian PCA" (2015); for kernels Kim et al.
    (2016), section 3.2.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> signal = generator.normal(size=(40, 3)) @ generator.normal(size=(3, 60))
        >>> EVBMF()([signal + 0.1 * generator.normal(size=(40, 60))])
        (3,)
    """

    def __call__(self, matrices, limits=None, macs_ratio=None):
        limits = limits or full_ranks(matrices)
        return tuple(
            min(_evbmf_rank(matrix), limit)
            for matrix, limit in zip(matrices, limits, strict=True)
        )


get = Rank.get
register(Rank, Fixed, Fraction, Energy, TargetMacs, EVBMF)


def full_ranks(matrices):
    """The rank of each matrix in the generic case.

    >>> full_ranks([np.ones((8, 6)), np.ones((5, 2, 3))])
    (6, 2)
    """
    return tuple(min(matrix.shape[-2:]) for matrix in matrices)


def singular_values(matrix):
    """Singular values of a matrix, or of each of a stack, in descending order."""
    return np.linalg.svd(matrix, compute_uv=False)


def _at_fraction(fraction, limits, to_integer=round):
    # k / n * n may be slightly below k.
    ranks = (to_integer(fraction * limit + 1e-9) for limit in limits)
    return tuple(max(1, rank) for rank in ranks)


_GRID = np.linspace(0.0, 1.0, 512)


def _evbmf_rank(matrix):
    """The largest rank of a stack `(..., rows, columns)`."""
    values = singular_values(matrix)
    values = values[values[..., 0] > 0]
    if not values.size:
        return 1
    rows, columns = sorted(matrix.shape[-2:])
    # Zeros become as large as rounding errors, which have a logarithm.
    floor = values[:, :1] * np.finfo(float).eps
    energies = np.maximum(values, floor) ** 2 / columns
    alpha = rows / columns
    tau = 2.5129 * np.sqrt(alpha)
    threshold = (1 + tau) * (1 + alpha / tau)
    variance = _noise_variance(energies, alpha, threshold)
    kept = np.count_nonzero(energies > threshold * variance[:, None], axis=-1)
    return max(1, int(kept.max()))


def _noise_variance(energies, alpha, threshold):
    """`σ²` for each row of `γ² / M` (matrices, L), from a grid and a finer one."""
    rows = energies.shape[-1]
    # At most this many components can stand out, which bounds the variance.
    most = max(min(math.ceil(rows / (1 + alpha)) - 1, rows - 1), 0)
    high = np.log(energies.mean(axis=-1))
    low = np.log(
        np.maximum(energies[:, most] / threshold, energies[:, most:].mean(axis=-1))
    )
    low = np.minimum(low, high)
    for _ in range(2):
        grid = low[:, None] + (high - low)[:, None] * _GRID
        x = energies[:, None, :] / np.exp(grid)[:, :, None]
        best = _free_energy(x, alpha, threshold).argmin(axis=-1)
        each = np.arange(len(best))
        low = grid[each, np.maximum(best - 1, 0)]
        high = grid[each, np.minimum(best + 1, grid.shape[1] - 1)]
        variance = np.exp(grid[each, best])
    return variance


def _free_energy(x, alpha, threshold):
    kept = x > threshold
    shifted = np.where(kept, x, threshold) - (1 + alpha)
    tau = (shifted + np.sqrt(shifted**2 - 4 * alpha)) / 2
    gain = np.log(tau + 1) + alpha * np.log(tau / alpha + 1) - tau
    return (x - np.log(x) + np.where(kept, gain, 0.0)).sum(axis=-1)
