"""Bits per weight that a learned uncertainty justifies."""

import math

import numpy as np

from tfcompress.core.agreement import copy_model
from tfcompress.core.compress import strip
from tfcompress.core.compressed import compressed_parts
from tfcompress.core.graph import editable
from tfcompress.core.kinds import BuiltModel, checked
from tfcompress.core.walk import weight_refs
from tfcompress.rewrites.fold_channel_scale import fold_channel_scales

_MANTISSA = 23
_FLOAT = 32


@checked
def posterior_bits(model: BuiltModel()):
    """Returns the bits that each weight of a kernel needs, according to its posterior.

    For a weight with standard deviation `σ`, `t` significant bits matter as long as the
    round-off exceeds the noise, `2 σ < 2^(1 - t) / 2`, but at most 23. A kernel gets
    the mean over its nonzero weights, rounded up, one bit for the sign, and
    `log2(log2(max|w| + 1) + 1)` bits, rounded up, for the exponent.

    Gates of `tfc.gate_channels` count for the kernels that `tfc.shrink` folds them
    into: a weight `w z` has the variance `E[w²] E[z²] - E[w]² E[z]²`.

    This counts the bits of a float format that no runtime supports. For a file, use it
    as a hint for the bits of `tfc.quantize_weights`.

    Args:
        model: a compressed Functional model without nested layers, with
            `GaussianWeights`, `GroupNormalJeffreys` or `SparseVariationalDropout`.

    Returns:
        `{path of the kernel: bits}`; 32 without a posterior, 0 where nothing is left.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if no weight has a posterior.

    Source: Louizos et al., "Bayesian Compression for Deep Learning" (2017), section 5 and
    appendix C.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a")])
        >>> model.layers[0].kernel.assign(np.ones((4, 3))).shape
        TensorShape([4, 3])
        >>> model = tfc.compress(model, {".*": {"gaussian_weights": {
        ...     "num_samples": 100, "initial_log_variance": 2 * np.log(0.01)}}})
        >>> tfc.transforms.posterior_bits(model)
        {'a/kernel': 7}
    """
    means = strip(model)
    squares = copy_model(means)
    for variable in squares.variables:
        variable.assign(np.square(variable.numpy()))
    known = _write_squares(model, squares)
    if not known:
        raise ValueError(
            f"posterior_bits found no weight with a posterior in {model.name!r}. Train "
            "it with GaussianWeights, GroupNormalJeffreys or SparseVariationalDropout."
        )
    pairs = zip(*(weight_refs(_folded(a)) for a in (means, squares)), strict=True)
    return {
        ref.path: _bits(ref.variable.numpy(), square.variable.numpy())
        if ref.owner.name in known
        else _FLOAT
        for ref, square in pairs
        if ref.is_kernel
    }


def _write_squares(model, squares):
    """Writes `E[w²]` of all weights with a posterior; returns the names of their layers."""
    known = set()
    for part in compressed_parts(model):
        for treatment in part.treatments:
            if not treatment.has_moments:
                continue
            mean, variance = (np.asarray(x, np.float64) for x in treatment.moments())
            layer = squares.get_layer(part.name)
            # Weights that are cut have no noise either.
            square = np.where(treatment.bake() == 0, 0.0, np.square(mean) + variance)
            layer.variables[treatment.ref.index].assign(square)
            known.add(part.name)
    return known


def _folded(plain):
    return fold_channel_scales(editable(plain, "read the bits of"))


def _bits(mean, square):
    kept = mean != 0
    if not kept.any():
        return 0
    variance = square[kept] - np.square(mean[kept])
    # Nothing is known below float32 rounding.
    deviation = np.sqrt(np.maximum(variance, np.spacing(square[kept])))
    significant = np.ceil(-np.log2(2 * deviation)) - 1
    significant = math.ceil(np.clip(significant, 0, _MANTISSA).mean())
    largest = float(np.abs(mean).max())
    exponent = math.ceil(math.log2(math.log2(largest + 1) + 1))
    return 1 + significant + exponent
