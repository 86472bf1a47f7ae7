"""GPTQ: rounding weight by weight, each error made good by the weights to come."""

import numpy as np

from tfcompress.core.kinds import Integer, Number
from tfcompress.core.nouns import Rounding


class GPTQ(Rounding):
    """Rounds one input's weights after the other and corrects those not yet rounded.

    Minimises `E‖zᵀ W̃ - xᵀ W‖²`, with rows `z` as the quantized model feeds them and `x`
    as the exact one does. With `H = E[z zᵀ] + λ I` and the upper Cholesky factor `U` of
    `H⁻¹`, for input `i = 1, 2, …`:

        q_i = clip(round(w_i / s), -level, level)
        e = (w_i - s q_i) / U_ii,    w_j -= U_ij e    for all j > i

    It starts from the best weights without rounding, `H⁻¹ (E[z xᵀ] + λ I) W`, so that
    errors of earlier layers are made good too. Corrections reach beyond a block of inputs
    only at its end. All outputs, and all channels of a depthwise convolution, are rounded
    at once.

    Args:
        damping: `λ` as a fraction of the mean diagonal of `E[z zᵀ]`; above 0.
        block_size: inputs in a block.

    Raises:
        ValueError: if an argument is not positive.

    Source: Frantar et al., "GPTQ" (2023), algorithm 1. That a layer should make good the
    errors of those before it: Li et al., "GPTAQ" (2025), which solves it otherwise.

    Example:
        >>> weight, scale = np.array([[[0.4], [0.4]]]), np.ones((1, 1, 1))
        >>> same = np.ones((1, 2, 2))  # both inputs are always 1
        >>> mean = np.ones((1, 2))
        >>> inputs = tfc.post_training.Inputs(mean, mean, same, same)
        >>> GPTQ()(weight, scale, 7, inputs).ravel()  # 0.4 + 0.4 is nearly 1
        array([0., 1.])
    """

    needs_inputs = True

    def __init__(self, damping: Number(above=0) = 0.01, block_size: Integer(1) = 128):
        self.damping = damping
        self.block_size = block_size

    def __call__(self, weight, scale, level, inputs=None):
        """The rounded weights, all groups at once."""
        eye = np.eye(weight.shape[1])
        power = np.trace(inputs.moments, axis1=1, axis2=2) / weight.shape[1]
        # An input that is always zero leaves its weights alone.
        damping = (self.damping * np.where(power > 0, power, 1.0))[:, None, None] * eye
        inverse = np.linalg.inv(inputs.moments + damping)
        upper = np.linalg.cholesky(inverse).swapaxes(1, 2)
        left = inverse @ ((inputs.cross + damping) @ weight)
        peaks = at_peak(weight, scale, level)
        codes = np.zeros_like(left)
        for start in range(0, weight.shape[1], self.block_size):
            block = slice(start, min(start + self.block_size, weight.shape[1]))
            errors = np.zeros_like(left[:, block])
            for i in range(block.start, block.stop):
                code = np.rint(left[:, i] / scale[:, 0])
                code = np.where(peaks[:, i] != 0, peaks[:, i] * level, code)
                codes[:, i] = np.clip(code, -level, level)
                error = left[:, i] - scale[:, 0] * codes[:, i]
                error = error / upper[:, i, i, None]
                rest = slice(i + 1, block.stop)
                left[:, rest] -= upper[:, i, rest, None] * error[:, None]
                errors[:, i - start] = error
            behind = slice(block.stop, None)
            left[:, behind] -= upper[:, block, behind].swapaxes(1, 2) @ errors
        return codes


def at_peak(weight, scale, level):
    """The sign of weights at or beyond the end of the grid, 0 for the others.

    They stay there, so that each channel reaches its last level and the exporter finds
    the grid from the weights.
    """
    return np.sign(weight) * (np.abs(weight) >= scale * level * (1 - 1e-6))
