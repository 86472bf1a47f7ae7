"""Curvature of the loss with respect to each kernel."""

import numpy as np

from tfcompress.core.collect import collect
from tfcompress.core.compressed import Treatment
from tfcompress.core.walk import weight_refs


def hessian_traces(model, kernels, data, copy):
    """The trace of each kernel's own block of the Hessian of the loss.

        tr(H_l) ≈ mean_v v_lᵀ (H v)_l

    over random signs `v` for all kernels at once (`tfc.signals.HessianDiagonal`); the
    blocks between different kernels cancel on average. Negative estimates become 0.

    Args:
        model: a compiled model, for its loss.
        kernels: variables of `copy`.
        data: an iterable of batches `(x, y)`.
        copy: a model that computes the same outputs.

    Returns:
        An array `(kernels,)`.

    Raises:
        ValueError: if there is no loss or no data.

    Source: Hutchinson (1990); Dong et al., "HAWQ-V2" (2020).
    """
    refs = {id(ref.variable): ref for ref in weight_refs(copy)}
    weights = [Treatment(refs[id(kernel)], []) for kernel in kernels]
    found = collect(model, weights, data, ["hessian_diagonal"], copy)
    return np.maximum([signals["hessian_diagonal"].sum() for signals in found], 0.0)
