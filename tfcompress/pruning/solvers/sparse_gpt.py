"""SparseGPT: processes inputs in order; later ones compensate for removed weights."""

import numpy as np

from tfcompress.core.kinds import Integer, Number
from tfcompress.core.nouns import Solver
from tfcompress.pruning.scopes import rounded
from tfcompress.pruning.solvers.least_squares import damped
from tfcompress.quantization.post_training.successive import chosen, factor

_LEAST_DAMPING = 1e-9


class SparseGPT(Solver):
    """Processes the inputs in order; later ones compensate for removed weights.

    Minimizes `E‖zᵀ W̃ - xᵀ W‖²`, with input rows `z` from the pruned model and `x` from
    the exact one. With `H = E[z zᵀ] + λ I = R Rᵀ`, where `R` is upper triangular, and
    the best weights `w` given the inputs treated before, the score of a weight is its
    loss at that point:

        score_j = R_jj² w_j² = w_j² / [H_{≥j}⁻¹]_jj

    where `H_{≥j}` is `H` without the inputs before `j`. In each block of inputs, the
    lowest scores of all outputs together are removed, so that each block has exactly
    the sparsity of the layer; a group's score is the mean, and blocks are long enough
    not to split groups. For patterns that keep some of every run, such as `NOfM`, a run
    is a block. All outputs share `R`, also with `GPTQ`: the cost is
    `n² (n / 3 + 4 outputs)` multiplications for `n` inputs, which suits wide layers;
    `OBS` is more accurate if it is fast enough.

    Args:
        damping: `λ` as a fraction of the mean diagonal of `E[z zᵀ]`; above 0.
        block_size: number of inputs among which weights are chosen.

    Raises:
        ValueError: if an argument is not positive, or if inputs are not finite.

    Source: Frantar & Alistarh, "SparseGPT" (2023), algorithm 1, with `R` in place of
    the factor of `H⁻¹`.

    Example:
        >>> weight = np.array([[[1.0], [2.0], [3.0]]])
        >>> moments = np.array([[[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]]])
        >>> inputs = tfc.post_training.Inputs(None, None, moments, moments)
        >>> one_weight = tfc.solvers.MatrixPattern(tfc.patterns.Weight(), (3, 1))
        >>> solver = SparseGPT(damping=1e-6)
        >>> solver(weight, 2, one_weight, inputs).ravel().round(3)  # 2 + 0.9 * 1
        array([0. , 2.9, 3. ])
    """

    needs_inputs = True

    def __init__(self, damping: Number(above=0) = 0.01, block_size: Integer(1) = 128):
        self.damping = damping
        self.block_size = block_size

    def scores(self, weight, pattern, inputs=None):
        """The loss of each group if all inputs were one block."""
        triangle, best = self._solved(weight, inputs)
        return pattern.pool((_diagonal(triangle) * best) ** 2)

    def __call__(self, weight, num_kept, pattern, inputs=None):
        """The weights after the last input was processed."""
        triangle, best = self._solved(weight, inputs)
        scale, keep = _diagonal(triangle), np.zeros(best.shape, bool)
        total, seen, kept = pattern.unscored.size, 0, 0

        def begin(block, best):
            nonlocal seen, kept
            part = pattern.part(block)
            seen += part.unscored.size
            count = rounded(num_kept * seen / total) - kept
            kept += count
            keep[:, block] = part.select(
                part.pool((scale[:, block] * best) ** 2), count
            )

        def choose(i, best):
            return np.where(keep[:, i], best, 0.0)

        left = triangle.swapaxes(1, 2) @ best
        blocks = _blocks(pattern, self.block_size)
        return chosen(triangle, left, blocks, choose, begin)

    def _solved(self, weight, inputs):
        """`R` and the best dense weights."""
        hessian, best = damped(weight, inputs, self.damping)
        least = _LEAST_DAMPING * np.trace(hessian, axis1=1, axis2=2) / len(hessian[0])
        return factor(hessian, least[:, None, None])[0], best


def _diagonal(triangle):
    return np.einsum("gii->gi", triangle)[..., None]


def _blocks(pattern, block_size):
    """Slices of at least `block_size` inputs that do not split a group; each run is one."""
    labels = pattern.labels[0, :, 0]
    if pattern.quota is not None:
        labels, block_size = pattern.quota[0][0, :, 0], 1
    _, group = np.unique(labels, return_inverse=True)
    last = np.zeros(group.max() + 1, int)
    last[group] = np.arange(len(group))
    reach = np.maximum.accumulate(last[group])
    blocks, start = [], 0
    for end in 1 + np.flatnonzero(reach == np.arange(len(group))):
        if end - start >= block_size or end == len(group):
            blocks.append(slice(start, int(end)))
            start = int(end)
    return blocks
