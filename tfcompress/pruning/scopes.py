"""How a sparsity is distributed among the weights of a model."""

import math

import numpy as np

from tfcompress.core.kinds import Number
from tfcompress.core.nouns import Scope, nth_highest
from tfcompress.core.plugin import register

_BISECTIONS = 100
_ROUNDING = 1e-6


class _WithFloor(Scope):
    """A scope that keeps at least `min_density`, and one group, of each weight.

    If the floors of all weights add up to more than may be kept, the floors win.
    """

    def __init__(
        self,
        min_density: Number(
            0, 1, meaning="the fraction of each weight that must stay"
        ) = 0.0,
    ):
        self.min_density = min_density

    def floors(self, group_scores):
        """The number of groups of each weight that always stay."""
        return [max(1, math.ceil(self.min_density * s.size)) for s in group_scores]

    def allowed(self, group_scores, shapes, sparsity):
        """The number of elements of all weights together that stay at a sparsity."""
        total = sum(map(math.prod, shapes))
        return total - rounded(sparsity * total)


class Local(_WithFloor):
    """Every weight gets the same sparsity.

    `kept_l = groups_l - round(sparsity * groups_l)`, halves rounded up.

    Args:
        min_density: fraction of each weight that always stays, in [0, 1].

    Raises:
        ValueError: if `min_density` is outside [0, 1].

    >>> Local()([np.zeros(8), np.zeros(4)], [(8,), (4,)], 0.5)
    [4, 2]
    """

    reads_scores = False

    def __call__(self, group_scores, shapes, sparsity):
        """The number of groups kept in each weight."""
        floors = self.floors(group_scores)
        counts = _local_counts(group_scores, sparsity)
        return [max(pair) for pair in zip(floors, counts, strict=True)]

    def allowed(self, group_scores, shapes, sparsity):
        """The number of elements that stay if no floor applies."""
        counts = _local_counts(group_scores, sparsity)
        sizes = _group_sizes(group_scores, shapes)
        return sum(c * size for c, size in zip(counts, sizes, strict=True))


class Global(_WithFloor):
    """Removes the lowest scores of the whole model, wherever they are.

    Exactly `round(sparsity * total)` elements are removed if all groups have the same
    size, otherwise as many whole groups as fit. If scores are equal, the earlier weight
    and then the earlier element stays. One group of each weight always stays.

    Args:
        min_density: fraction of each weight that always stays, in [0, 1]; a few percent
            prevent layers with low scores from being nearly cut off.

    Raises:
        ValueError: if `min_density` is outside [0, 1].

    >>> Global()([np.array([1.0, 2.0]), np.array([3.0, 4.0])], [(2,), (2,)], 0.25)
    [1, 2]
    """

    def __call__(self, group_scores, shapes, sparsity):
        """The number of groups kept in each weight."""
        sizes = _group_sizes(group_scores, shapes)
        total = sum(math.prod(shape) for shape in shapes)
        budget = total - rounded(sparsity * total)
        floors = self.floors(group_scores)
        kept = [None] * len(floors)
        while free := [i for i, k in enumerate(kept) if k is None]:
            fixed = sum(k * sizes[i] for i, k in enumerate(kept) if k is not None)
            counts = _highest(
                [group_scores[i] for i in free],
                [sizes[i] for i in free],
                budget - fixed,
            )
            starved = [i for i, c in zip(free, counts, strict=True) if c < floors[i]]
            if not starved:
                for i, count in zip(free, counts, strict=True):
                    kept[i] = count
            for i in starved:
                kept[i] = floors[i]
        return kept


class ErdosRenyi(_WithFloor):
    """Large layers get a higher sparsity than small ones.

    `density_l = min(1, ε (n_in + n_out) / (n_in n_out))`, with `ε` such that the whole
    model has the desired sparsity. Counts are exact for the model. One group of each
    weight always stays.

    Args:
        min_density: fraction of each weight that always stays, in [0, 1].

    Raises:
        ValueError: if `min_density` is outside [0, 1].

    Source: Mocanu et al., "Scalable training of artificial neural networks with
    adaptive sparse connectivity" (2018), equation 1.

    >>> ErdosRenyi()([np.zeros((4, 4)), np.zeros((16, 16))], [(4, 4), (16, 16)], 0.5)
    [16, 120]
    """

    reads_scores = False

    def __call__(self, group_scores, shapes, sparsity):
        """The number of groups kept in each weight."""
        sizes = np.array(_group_sizes(group_scores, shapes))
        groups = np.array([s.size for s in group_scores])
        total = int(groups @ sizes)
        budget = total - rounded(sparsity * total)
        floors = np.array(self.floors(group_scores))
        ideal = np.array([self._ratio(shape) for shape in shapes]) * groups

        def share(epsilon):
            return np.clip(epsilon * ideal, floors, groups)

        # The total grows with ε.
        low, high = 0.0, float(np.max(groups / ideal))
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            is_less = share(middle) @ sizes <= budget
            low, high = (middle, high) if is_less else (low, middle)
        return _apportion(share(low), groups, sizes, budget)

    def _ratio(self, shape):
        inputs, outputs = shape[-2:]
        return (inputs + outputs) / (inputs * outputs)


class ErdosRenyiKernel(ErdosRenyi):
    """Like `ErdosRenyi`, with the kernel's width and height counted too.

    `density_l = min(1, ε (n_in + n_out + h + w) / (n_in n_out h w))`.

    Args:
        min_density: fraction of each weight that always stays, in [0, 1].

    Raises:
        ValueError: if `min_density` is outside [0, 1].

    Source: Evci et al., "Rigging the Lottery" (2020), section 3.

    >>> ErdosRenyiKernel()._ratio((3, 3, 4, 8))
    0.0625
    """

    def _ratio(self, shape):
        return sum(shape) / math.prod(shape)


def rounded(value):
    """The nearest integer, with halves rounded up."""
    return math.floor(value + 0.5)


def _local_counts(group_scores, sparsity):
    return [s.size - rounded(sparsity * s.size) for s in group_scores]


def _group_sizes(group_scores, shapes):
    return [
        math.prod(shape) / scores.size
        for scores, shape in zip(group_scores, shapes, strict=True)
    ]


def _highest(group_scores, sizes, budget):
    """The number of globally highest groups in each array, within a budget."""
    if len(set(sizes)) == 1:
        return _highest_of(group_scores, int(budget // sizes[0]))
    flat = np.concatenate([np.ravel(s) for s in group_scores])
    owner = np.repeat(np.arange(len(sizes)), [s.size for s in group_scores])
    order = np.argsort(-flat, kind="stable")
    inside = np.cumsum(np.array(sizes)[owner[order]]) <= budget
    return np.bincount(owner[order[inside]], minlength=len(sizes)).tolist()


def _highest_of(group_scores, count):
    """The number of the `count` highest groups in each array."""
    if count <= 0:
        return [0] * len(group_scores)
    if count >= sum(s.size for s in group_scores):
        return [s.size for s in group_scores]
    threshold = nth_highest(group_scores, count)
    counts = [int(np.count_nonzero(s > threshold)) for s in group_scores]
    for i, scores in enumerate(group_scores):
        ties = int(np.count_nonzero(scores == threshold))
        counts[i] += min(ties, count - sum(counts))
    return counts


def _apportion(ideal, groups, sizes, budget):
    """Integers near `ideal` that use up the budget: largest remainders first."""
    counts = np.floor(ideal + _ROUNDING).astype(int)
    for i in np.argsort(counts - ideal, kind="stable"):
        if counts[i] < groups[i] and counts @ sizes + sizes[i] <= budget:
            counts[i] += 1
    return counts.tolist()


get = Scope.get
register(Scope, ErdosRenyi, ErdosRenyiKernel, Global, Local)
