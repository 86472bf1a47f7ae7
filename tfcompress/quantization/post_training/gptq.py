"""GPTQ: rounding weight by weight; later weights compensate for earlier errors."""

import numpy as np

from tfcompress.core.kinds import Integer, Number
from tfcompress.core.nouns import Rounding
from tfcompress.quantization.post_training.successive import (
    chosen,
    even_blocks,
    factor,
    solved,
)


class GPTQ(Rounding):
    """Rounds the weights input by input and corrects those not yet rounded.

    Minimises `E‖zᵀ W̃ - xᵀ W‖²`, where the quantized model feeds the layer rows `z` and the
    exact model rows `x`. With `H = E[z zᵀ] + λ I = R Rᵀ`, where `R` is upper triangular,
    and `R y = (E[z xᵀ] + λ I) W`, for input `i = 1, 2, …`:

        w_i = (y_i - Σ_{j<i} R_ji s q_j) / R_ii
        q_i = clip(round(w_i / s), -level, level)

    `w_i` is the best weight given the inputs rounded before, with all others still free. It
    starts from the best weights without rounding, so that errors of earlier layers are also
    compensated. All outputs, and all channels of a depthwise convolution, are rounded at
    once. If rounding errors leave `H` without a factor, `λ` is multiplied by 10 until there
    is one. It takes `n² (n / 3 + 4 outputs)` multiplications for `n` inputs, and memory for
    three matrices of `n²` numbers in addition to the `Inputs`.

    Args:
        damping: `λ` as a fraction of the mean diagonal of `E[z zᵀ]`; above 0.
        block_size: number of inputs whose sums are computed together.

    Raises:
        ValueError: if an argument is not positive, or if inputs are not finite.

    Source: Frantar et al., "GPTQ" (2023), algorithm 1, with `R` in place of the factor of
    `H⁻¹` as in Chen et al., "The Geometry of LLM Quantization" (2025). Compensating errors
    of earlier layers: Li et al., "GPTAQ" (2025), which solves it differently.

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
        """The rounded weights, for all groups at once."""
        size = weight.shape[1]
        power = np.trace(inputs.moments, axis1=1, axis2=2) / size
        if not np.isfinite(power).all():
            raise ValueError(
                "GPTQ needs finite inputs: some inputs of a layer are NaN or infinite, or "
                "too large for float32. Check the samples, and the layers before it."
            )
        # An input that is always zero does not affect its weights.
        damping = self.damping * np.where(power > 0, power, 1.0)[:, None, None]
        triangle, damping = factor(inputs.moments, damping)
        blocks = even_blocks(size, self.block_size)
        left = inputs.cross @ weight + damping * weight
        peaks = at_peak(weight, scale, level)
        codes = np.zeros_like(left)

        scale = np.broadcast_to(scale, weight.shape)

        def choose(i, best):
            code = np.rint(best / scale[:, i])
            code = np.where(peaks[:, i] != 0, peaks[:, i] * level, code)
            codes[:, i] = np.clip(code, -level, level)
            return codes[:, i] * scale[:, i]

        chosen(triangle, solved(triangle, left, blocks), blocks, choose)
        return codes


def at_peak(weight, scale, level):
    """The sign of weights at or beyond the end of the grid, 0 for the others.

    They stay there, so that each channel reaches its last level and the exporter can
    recover the grid from the weights.
    """
    return np.sign(weight) * (np.abs(weight) >= scale * level * (1 - 1e-6))
