"""Rounds weights input by input; later weights compensate for earlier errors.

With `H = R Rᵀ`, where `R` is upper triangular, the error `(q - w)ᵀ H (q - w)` of weights
`q` in place of `w` is `‖Rᵀ q - y‖²` with `y = Rᵀ w`. Its row `i` involves only the inputs
up to `i`, so the best weight for input `i`, with all later ones still free, is

    w_i = (y_i - Σ_{j<i} R_ji q_j) / R_ii

and any other weight costs `R_ii² (q_i - w_i)²`. `1 / R_ii²` is the diagonal element of the
inverse of `H` without the inputs before `i`.
"""

import numpy as np


def factor(moments, damping):
    """Upper triangular `R` with `R Rᵀ = moments + damping I`, and the damping used.

    If rounding errors leave no factor, the damping is multiplied by 10 until there is one.

    Args:
        moments: array `(groups, inputs, inputs)`.
        damping: array `(groups, 1, 1)`.
    """
    while True:
        # With reversed rows and columns, it is LAPACK's factor.
        damped = np.array(moments[:, ::-1, ::-1])
        np.einsum("gii->gi", damped)[:] += damping[..., 0]
        try:
            return np.linalg.cholesky(damped)[:, ::-1, ::-1], damping
        except np.linalg.LinAlgError:
            damping = 10.0 * damping


def solved(triangle, right, blocks):
    """`y` with `R y = right`, written over `right`."""
    size = right.shape[1]
    for block in reversed(blocks):
        later = slice(block.stop, size)
        right[:, block] -= triangle[:, block, later] @ right[:, later]
        right[:, block] = np.linalg.solve(triangle[:, block, block], right[:, block])
    return right


def chosen(triangle, left, blocks, choose, begin=None):
    """The weights `q`, array `(groups, inputs, outputs)`.

    Args:
        triangle: `R`, array `(groups, inputs, inputs)`.
        left: `y`, array `(groups, inputs, outputs)`; written over.
        blocks: slices of inputs whose sums are computed together.
        choose: `(i, w_i) -> q_i`, arrays `(groups, outputs)`.
        begin: called before each block with it and its best weights if none is chosen.
    """
    weights = np.zeros_like(left)
    for block in blocks:
        before = slice(0, block.start)
        left[:, block] -= triangle[:, before, block].swapaxes(1, 2) @ weights[:, before]
        if begin is not None:
            inside = triangle[:, block, block].swapaxes(1, 2)
            begin(block, np.linalg.solve(inside, left[:, block]))
        for i in range(block.start, block.stop):
            inside = slice(block.start, i)
            known = triangle[:, None, inside, i] @ weights[:, inside]
            best = (left[:, i] - known[:, 0]) / triangle[:, i, i, None]
            weights[:, i] = choose(i, best)
    return weights


def even_blocks(size, block_size):
    """Slices of `block_size`; the last one may be shorter.

    >>> even_blocks(5, 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    starts = range(0, size, block_size)
    return [slice(start, min(start + block_size, size)) for start in starts]
