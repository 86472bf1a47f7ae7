"""Optimal brain surgeon: removes the least important weight and corrects the others."""

import numpy as np

from tfcompress.core.kinds import Number
from tfcompress.core.nouns import Solver
from tfcompress.pruning.solvers.least_squares import NUM_AT_ONCE, damped, on_support

# Eliminations whose products are computed at once.
_BLOCK = 128
# Losses are made to increase by at least this fraction.
_GROWTH = 1e-12


class OBS(Solver):
    """Removes one group of weights after another and corrects the remaining ones.

    Minimizes `E‖zᵀ W̃ - xᵀ W‖²`, with input rows `z` from the pruned model and `x` from
    the exact one, for each output separately. With `H = E[z zᵀ] + λ I`, starting from
    the best dense weights, each step removes the group `p` with the smallest loss:

        loss_p = w_pᵀ ([H⁻¹]_pp)⁻¹ w_p
        w   -= [H⁻¹]_:p ([H⁻¹]_pp)⁻¹ w_p
        H⁻¹ -= [H⁻¹]_:p ([H⁻¹]_pp)⁻¹ [H⁻¹]_p:

    until none is left, or as many as an `NOfM` keeps. The losses of all outputs, sorted
    together, determine which are removed; then the least-squares weights on the
    remaining support are computed, which is the result of these steps. Everything is in
    float64. Groups that span several outputs (`Block`, `Strided`) add up their losses
    there; those that are a whole output (`Filter`) or span several groups of a
    convolution are scored one by one.

    The steps are those of a pivoted Cholesky factorization of `H⁻¹`, whose rows are
    computed when needed: about `inputs³ outputs / 3` multiplications, and memory for
    `inputs² outputs` numbers, up to 256 MB at once. 64 filters of 3x3x64 take seconds,
    a thousand outputs of 4,096 inputs an hour or more: use `SparseGPT` for those.

    Args:
        damping: `λ` as a fraction of the mean diagonal of `E[z zᵀ]`; above 0.

    Raises:
        ValueError: if an argument is not positive, or if inputs are not finite.

    Source: OBC: Frantar & Alistarh, "Optimal Brain Compression" (2022), section 4,
    after OBS: Hassibi & Stork, "Second order derivatives for network pruning: Optimal
    Brain Surgeon" (1993).

    Example:
        >>> weight = np.array([[[1.0], [2.0], [3.0]]])
        >>> moments = np.array([[[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]]])
        >>> inputs = tfc.post_training.Inputs(None, None, moments, moments)
        >>> one_weight = tfc.solvers.MatrixPattern(tfc.patterns.Weight(), (3, 1))
        >>> OBS()(weight, 2, one_weight, inputs).ravel().round(3)  # 2 + 0.9 * 1
        array([0. , 2.9, 3. ])
    """

    needs_inputs = True

    def __init__(self, damping: Number(above=0) = 1e-4):
        self.damping = damping

    def scores(self, weight, pattern, inputs=None):
        """The loss of each group when it is removed; infinite if it has to stay."""
        return self._scores(*damped(weight, inputs, self.damping), pattern)

    def __call__(self, weight, num_kept, pattern, inputs=None):
        """The weights with the least error on the remaining support."""
        hessian, best = damped(weight, inputs, self.damping)
        keep = pattern.select(self._scores(hessian, best, pattern), num_kept)
        return on_support(hessian, best, keep)

    def _scores(self, hessian, best, pattern):
        labels, quota = pattern.labels, pattern.quota
        scores = np.empty_like(best)
        for group, inverse in enumerate(np.linalg.inv(hessian)):
            places = _places(labels[group])
            runs = quota and (_runs(quota[0][group, :, 0], places), quota[1])
            for outputs in _bundles(labels[group]):
                weights = best[group].T[outputs]
                losses = _eliminated(inverse, weights, places, runs)
                for place, loss in zip(places, losses.T, strict=True):
                    scores[group, place[:, None, None], outputs] = loss[:, None]
        return pattern.pool(scores)


def _places(labels):
    """The inputs of each group, the same for all outputs."""
    _, first, group = np.unique(labels[:, 0], return_index=True, return_inverse=True)
    if (labels != labels[first[group]]).any():
        raise ValueError(
            "OBS expects a pattern whose groups have the same inputs for each output."
        )
    return [np.flatnonzero(group == i) for i in np.argsort(first)]


def _runs(labels, places):
    """The run of each group, integers from 0."""
    return np.unique([labels[place[0]] for place in places], return_inverse=True)[1]


def _bundles(labels):
    """Outputs that share their groups, `(bundles, outputs)`, as many as fit into memory."""
    _, bundle, count = np.unique(labels[0], return_inverse=True, return_counts=True)
    order = np.argsort(bundle, kind="stable")
    starts = np.cumsum(count) - count
    step = max(1, NUM_AT_ONCE // len(labels) ** 2)
    for size in np.unique(count):
        chosen = starts[count == size]
        for i in range(0, len(chosen), step):
            yield order[chosen[i : i + step, None] + np.arange(size)]


def _eliminated(inverse, weights, places, runs=None):
    """The loss of each group when it is removed, `(bundles, groups)`.

    Args:
        inverse: `H⁻¹`, array `(inputs, inputs)`.
        weights: array `(bundles, outputs, inputs)`.
        places: list of arrays, the inputs of each group.
        runs: the run of each group, and the number of groups of each run that stay.
    """
    inverse, weights, size = _side_by_side(inverse, weights, places)
    count, bundles = len(places), np.arange(len(weights))
    losses = np.full((len(weights), count), np.inf)
    least = np.zeros(len(weights))
    rest = np.broadcast_to(inverse, (len(weights), *inverse.shape))
    groups = np.broadcast_to(np.arange(count), losses.shape)
    if runs is not None:
        runs, stay = runs
        in_run = np.tile(np.bincount(runs), (len(weights), 1))
    while groups.size:
        rows = np.empty(
            (len(weights), min(_BLOCK, groups.shape[1]), size, rest.shape[2])
        )
        alive = np.ones(groups.shape, bool)
        blocks = np.einsum("bisit->bist", _by_group(rest, size, 1, 2)).copy()
        for step in range(rows.shape[1]):
            costs = np.where(alive, _costs(blocks, _by_group(weights, size, 2)), np.inf)
            if runs is not None:
                costs[np.take_along_axis(in_run, runs[groups], 1) <= stay] = np.inf
            chosen = costs.argmin(axis=1)
            cost = costs[bundles, chosen]
            if not np.isfinite(cost).any():
                return losses
            name = groups[bundles, chosen]
            least = np.maximum(cost, least * (1 + _GROWTH))
            losses[bundles, name] = least
            alive[bundles, chosen] = False
            if runs is not None:
                in_run[bundles, runs[name]] -= 1
            made = rows[:, :step].reshape(len(weights), -1, rest.shape[2])
            row, gone = _row(rest, made, weights, chosen, size)
            weights -= gone.swapaxes(1, 2) @ row
            by_group = _by_group(row, size, 2)
            blocks -= np.einsum("bkis,bkit->bist", by_group, by_group)
            blocks[bundles, chosen] = np.eye(size)
            rows[:, step] = row
        rest, weights, groups = _without(rest, rows, weights, groups, alive)
    return losses


def _row(rest, made, weights, group, size):
    """The rows of the Cholesky factor of `H⁻¹` that eliminating a group subtracts.

    Also returns the weights `w_p` times the inverse pivot, which multiply the rows.
    """
    bundles = np.arange(len(weights))
    place = size * group[:, None] + np.arange(size)
    row = rest[bundles[:, None], place]
    # Subtracts what was eliminated since `rest` was computed.
    row -= np.take_along_axis(made, place[:, None], 2).swapaxes(1, 2) @ made
    pivot = np.linalg.cholesky(np.take_along_axis(row, place[:, None], 2))
    gone = np.take_along_axis(weights, place[:, None], 2).swapaxes(1, 2)
    if size == 1:
        return row / pivot, gone / pivot
    return np.linalg.solve(pivot, row), np.linalg.solve(pivot, gone)


def _without(rest, rows, weights, groups, alive):
    """`H⁻¹`, the weights and the groups without the removed ones."""
    count, steps, size, _ = rows.shape
    bundles, left = np.arange(count), np.nonzero(alive)[1].reshape(count, -1)
    places = (size * left[:, :, None] + np.arange(size)).reshape(count, -1)
    rows = rows.reshape(count, steps * size, -1)
    rows = np.take_along_axis(rows, places[:, None], 2)
    rest = rest[bundles[:, None, None], places[:, :, None], places[:, None]]
    rest -= rows.swapaxes(1, 2) @ rows
    weights = np.take_along_axis(weights, places[:, None], 2)
    return rest, weights, np.take_along_axis(groups, left, 1)


def _costs(blocks, weights):
    """`w_pᵀ ([H⁻¹]_pp)⁻¹ w_p`, array `(bundles, groups)`.

    Args:
        blocks: array `(bundles, groups, size, size)`.
        weights: array `(bundles, outputs, groups, size)`.
    """
    weights = np.moveaxis(weights, 1, -1)
    if blocks.shape[-1] == 1:
        return np.sum(weights**2, axis=(2, 3)) / blocks[..., 0, 0]
    return np.sum(weights * np.linalg.solve(blocks, weights), axis=(2, 3))


def _by_group(array, size, *axes):
    """The array with each axis of inputs split into groups and their elements."""
    shape = [
        n for axis, length in enumerate(array.shape)
        for n in ((length // size, size) if axis in axes else (length,))
    ]  # fmt: skip
    return array.reshape(shape)


def _side_by_side(inverse, weights, places):
    """The same with the inputs of each group next to each other, and the group size.

    Groups that are too short are padded with inputs that have no effect.
    """
    size, inputs = max(map(len, places)), len(inverse)
    order, more = [], inputs
    for place in places:
        missing = size - len(place)
        order += [*place, *range(more, more + missing)]
        more += missing
    padded = np.eye(more)
    padded[:inputs, :inputs] = inverse
    weights = np.pad(weights, ((0, 0), (0, 0), (0, more - inputs)))
    return padded[np.ix_(order, order)], weights[:, :, order], size
