"""The best weights if only some may differ from zero."""

import numpy as np

# Number of float64 values that are processed at once: 256 MB.
NUM_AT_ONCE = 2**25
# Outputs that are solved for together, padded to the largest number of inputs.
_NUM_TOGETHER = 8
_DEAD = 1e-12


def damped(weight, inputs, damping, start=None):
    """`(H, W*)`: the curvature of a layer's error, and the weights that minimize it.

    The error `E‖zᵀ W̃ - xᵀ W‖² + λ‖W̃ - W₀‖²` is `(W̃ - W*)ᵀ H (W̃ - W*)` plus a
    constant, with

        H = E[z zᵀ] + λ I,    W* = H⁻¹ (E[z xᵀ] W + λ W₀)

    Inputs that are always zero have no effect: their rows of `W*` are 0.

    Args:
        weight: `W`, array `(groups, inputs, outputs)`.
        inputs: a `tfc.post_training.Inputs` with second moments.
        damping: `λ` as a fraction of the mean diagonal of `E[z zᵀ]`.
        start: `W₀`, array `(groups, inputs of z, outputs)`; `W` by default.

    Raises:
        ValueError: if the inputs are not finite.
    """
    power = np.einsum("gii->gi", inputs.moments)
    if not np.isfinite(power).all():
        raise ValueError(
            "Solvers need finite inputs: some inputs of a layer are NaN or infinite, or "
            "too large for float32. Check the samples, and the layers before it."
        )
    mean = power.mean(axis=1)
    dead = power <= _DEAD * mean[:, None]
    level = damping * np.where(mean > 0, mean, 1.0)
    hessian = inputs.moments.copy()
    diagonal = np.einsum("gii->gi", hessian)
    diagonal += level[:, None]
    diagonal[dead] = 1.0
    start = weight if start is None else start
    best = inputs.cross @ weight + level[:, None, None] * start
    best[dead] = 0.0
    return hessian, np.linalg.solve(hessian, best)


def on_support(hessian, best, keep):
    """The weights with the least error among those that are zero outside `keep`.

        W̃_S = (H_SS)⁻¹ (H W*)_S    for the support S of each output

    Args:
        hessian: `H`, array `(groups, inputs, inputs)`.
        best: `W*`, array `(groups, inputs, outputs)`.
        keep: booleans like `best`.
    """
    target = hessian @ best
    solution = np.zeros_like(best)
    for group, outputs in per_output(keep):
        support, matrices = restricted(hessian[group], keep[group][:, outputs].T)
        row, place = np.nonzero(support < hessian.shape[1])
        position = group, support[row, place], outputs[row]
        right = np.zeros((*support.shape, 1))
        right[row, place, 0] = target[position]
        solution[position] = np.linalg.solve(matrices, right)[row, place, 0]
    return solution


def per_output(keep):
    """Yields `(group, outputs)`, with outputs that keep similar numbers of inputs.

    >>> keep = np.array([[[True, False, True], [True, False, False]]])
    >>> list(per_output(keep))
    [(0, array([1, 2, 0]))]
    """
    for group, counts in enumerate(keep.sum(axis=1)):
        order = np.argsort(counts, kind="stable")
        for start in range(0, len(order), _NUM_TOGETHER):
            yield group, order[start : start + _NUM_TOGETHER]


def restricted(hessian, keep, unused=1.0):
    """`H` restricted to the support of each output.

    Args:
        hessian: array `(inputs, inputs)`.
        keep: booleans `(outputs, inputs)`.
        unused: diagonal value for the padding of outputs with fewer inputs.

    Returns:
        The inputs that are kept, `(outputs, most)`, in order, padded with the number of
        inputs if an output has fewer; and `H` restricted to them,
        `(outputs, most, most)`.
    """
    size = keep.shape[1]
    most = max(1, int(keep.sum(axis=1).max()))
    support = np.where(keep, np.arange(size), size)
    support = np.sort(support, axis=1)[:, :most]
    padded = np.zeros((size + 1, size + 1))
    padded[:size, :size] = hessian
    matrices = padded[support[:, :, None], support[:, None, :]]
    diagonal = np.einsum("rii->ri", matrices)
    diagonal[support == size] = unused
    return support, matrices
