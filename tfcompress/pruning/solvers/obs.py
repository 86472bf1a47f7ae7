"""Optimal brain surgeon: the weight that is missed least goes, the others make it good."""

import numpy as np

from tfcompress.core.kinds import Number
from tfcompress.core.nouns import Solver
from tfcompress.pruning.solvers.least_squares import NUM_AT_ONCE, damped, on_support

# Eliminations whose products are made at once.
_BLOCK = 128
# Of each output the losses grow, if only by this share.
_GROWTH = 1e-12


class OBS(Solver):
    """Takes out one group of weights after the other and corrects those that are left.

    Minimises `E‖zᵀ W̃ - xᵀ W‖²`, with rows `z` as the pruned model feeds them and `x` as the
    exact one does, for each output by itself. With `H = E[z zᵀ] + λ I`, beginning with the
    best weights without a zero, each step takes out the group `p` that is missed least:

        loss_p = w_pᵀ ([H⁻¹]_pp)⁻¹ w_p
        w   -= [H⁻¹]_:p ([H⁻¹]_pp)⁻¹ w_p
        H⁻¹ -= [H⁻¹]_:p ([H⁻¹]_pp)⁻¹ [H⁻¹]_p:

    until none is left, or as many as an `NOfM` keeps. The losses of all outputs sorted
    together say which go; then the weights of least error on what stays are solved for,
    which is where these steps lead. All in float64. Groups that run through several outputs
    (`Block`, `Strided`) add up their losses there; those that are an output (`Filter`) or
    run through several groups of a convolution are each scored alone.

    The steps are those of a Cholesky factorisation of `H⁻¹` with pivots, whose rows are
    made when they are due: about `inputs³ outputs / 3` multiplications, and
    `inputs² outputs` numbers are held, up to 256 MB of them at once. 64 filters of 3x3x64
    take seconds, a thousand outputs of 4,096 inputs an hour and more: `SparseGPT` suits
    those.

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
        """What each group costs when its turn comes; infinite if it has to stay."""
        return self._scores(*damped(weight, inputs, self.damping), pattern)

    def __call__(self, weight, num_kept, pattern, inputs=None):
        """The weights of least error on what stays."""
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
    """The run of each group, numbers from 0."""
    return np.unique([labels[place[0]] for place in places], return_inverse=True)[1]


def _bundles(labels):
    """Outputs that share their groups, `(bundles, outputs)`, as many as fit at once."""
    _, bundle, count = np.unique(labels[0], return_inverse=True, return_counts=True)
    order = np.argsort(bundle, kind="stable")
    starts = np.cumsum(count) - count
    step = max(1, NUM_AT_ONCE // len(labels) ** 2)
    for size in np.unique(count):
        chosen = starts[count == size]
        for i in range(0, len(chosen), step):
            yield order[chosen[i : i + step, None] + np.arange(size)]


def _eliminated(inverse, weights, places, runs=None):
    """The loss of each group when it is its turn, `(bundles, groups)`.

    Args:
        inverse: `H⁻¹`, array `(inputs, inputs)`.
        weights: array `(bundles, outputs, inputs)`.
        places: list of arrays, the inputs of each group.
        runs: the run of each group, and how many groups of each run stay.
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
    """What elimination of a group takes off: rows of the Cholesky factor of `H⁻¹`.

    With the weights `w_p` times the inverse of the pivot, which times the rows they lose.
    """
    bundles = np.arange(len(weights))
    place = size * group[:, None] + np.arange(size)
    row = rest[bundles[:, None], place]
    # What was taken off since `rest` was made.
    row -= np.take_along_axis(made, place[:, None], 2).swapaxes(1, 2) @ made
    pivot = np.linalg.cholesky(np.take_along_axis(row, place[:, None], 2))
    gone = np.take_along_axis(weights, place[:, None], 2).swapaxes(1, 2)
    if size == 1:
        return row / pivot, gone / pivot
    return np.linalg.solve(pivot, row), np.linalg.solve(pivot, gone)


def _without(rest, rows, weights, groups, alive):
    """`H⁻¹`, the weights and the groups without those that are gone."""
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
    """The array with axes of inputs split into groups and what is in them."""
    shape = [
        n for axis, length in enumerate(array.shape)
        for n in ((length // size, size) if axis in axes else (length,))
    ]  # fmt: skip
    return array.reshape(shape)


def _side_by_side(inverse, weights, places):
    """The same with the inputs of each group next to each other, and the groups' size.

    Groups that are too short are filled up with inputs that nothing hangs on.
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
