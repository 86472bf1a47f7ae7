"""Rounds the remaining weights of a pruned kernel to few bits, keeping its zeros."""

import numpy as np

from tfcompress.pruning.solvers.least_squares import per_output, restricted
from tfcompress.quantization.post_training.inputs import Inputs
from tfcompress.quantization.post_training.nearest import Nearest
from tfcompress.quantization.post_training.scales import channel_scales


def round_kept(pruned, exact, bits, rounding, scales, inputs=None):
    """The pruned kernel on a symmetric grid for each output.

    Each output is rounded as a separate layer with only the inputs that it keeps, so
    that the others, whose weights stay exactly 0, do not take part in correcting its
    errors. If all inputs stay, it is rounded as in `tfc.quantize_weights`.

    Args:
        pruned: array `(groups, inputs, outputs)`.
        exact: the kernel before.
        bits: 2 to 8.
        rounding: a `Rounding`.
        scales: how step sizes are chosen, as in `tfc.quantize_weights`.
        inputs: an `Inputs` with second moments, or None.
    """
    level = 2 ** (bits - 1) - 1
    if inputs is None or inputs.moments is None:
        scale = channel_scales(pruned, level, "max" if scales == "max" else "mse")
        return Nearest()(pruned, scale, level) * scale
    keep = pruned != 0
    if keep.all() and (pruned == exact).all():
        scale = channel_scales(pruned, level, scales, inputs.moments)
        return rounding(pruned, scale, level, inputs) * scale
    rounded = np.zeros_like(pruned)
    for group, outputs in per_output(keep):
        support, moments = restricted(
            inputs.moments[group], keep[group][:, outputs].T, unused=0.0
        )
        row, place = np.nonzero(support < pruned.shape[1])
        position = group, support[row, place], outputs[row]
        weight = np.zeros((*support.shape, 1))
        weight[row, place, 0] = pruned[position]
        scale = channel_scales(weight, level, scales, moments)
        codes = rounding(weight, scale, level, Inputs(None, None, moments, moments))
        rounded[position] = (codes * scale)[row, place, 0]
    return rounded
