"""The step of each output channel's grid, or of each block's."""

import numpy as np

from tfcompress.core.grid import rounded_to_bfloat16

SCALES = ("max", "mse", "output_mse")
_SHARES = np.linspace(1.0, 0.3, 36)


def channel_scales(weight, level, choice="max", moments=None):
    """The steps, array `(groups, 1, outputs)`.

    `"max"`: `max|w| / level`. `"mse"`: of 36 values from 1 to 0.3 times that, the one with
    the smallest `Σ (s q - w)²`, where `q = clip(round(w / s), -level, level)`.
    `"output_mse"`: likewise with the smallest `(s q - w)ᵀ E[z zᵀ] (s q - w)`, the error of
    the layer's outputs for its inputs `z`.

    Args:
        weight: array `(groups, inputs, outputs)`.
        level: the largest integer.
        choice: one of `SCALES`.
        moments: `E[z zᵀ]`, array `(groups, inputs, inputs)`.

    Source: Nagel et al., "A White Paper on Neural Network Quantization" (2021), section
    3.1.

    >>> weight = np.array([0.1, 0.2, 0.3, 0.7] * 9 + [1.4]).reshape(1, -1, 1)
    >>> round(channel_scales(weight, 7).item(), 6)
    0.2
    >>> round(channel_scales(weight, 7, "mse").item(), 6)
    0.176
    """
    largest = np.abs(weight).max(axis=1, keepdims=True) / level
    largest = np.where(largest > 0, largest, 1.0 / level)
    if choice == "max":
        return largest
    if choice == "output_mse":
        # Single precision is enough to tell steps apart, and twice as fast.
        moments = moments.astype(np.float32)
    best, least = largest, np.full(largest.shape, np.inf)
    for share in _SHARES:
        scale = share * largest
        error = scale * np.clip(np.rint(weight / scale), -level, level) - weight
        effect = error if choice == "mse" else moments @ error.astype(np.float32)
        error = np.sum(error * effect, axis=1, keepdims=True)
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    return best


def block_scales(weight, level, block_size, choice="max", moments=None):
    """The steps of blocks of inputs, array `(groups, inputs, outputs)`, equal within each.

    They are chosen as by `channel_scales`, where `"output_mse"` takes the errors of
    different blocks as independent, and rounded to 8 significant bits, as in files.

    Args:
        weight: array `(groups, inputs, outputs)`.
        level: the largest integer.
        block_size: number of inputs of a block; divides the inputs.
        choice: one of `SCALES`.
        moments: `E[z zᵀ]`, array `(groups, inputs, inputs)`.

    >>> weight = np.array([1.0, 7.0, 3.0, 14.0]).reshape(1, 4, 1)
    >>> block_scales(weight, 7, 2).ravel()
    array([1., 1., 2., 2.])
    """
    groups, inputs, outputs = weight.shape
    blocks = weight.reshape(-1, block_size, outputs)
    if moments is not None:
        parts = moments.reshape(
            groups, -1, block_size, inputs // block_size, block_size
        )
        moments = np.einsum("gbsbt->gbst", parts).reshape(-1, block_size, block_size)
    scales = rounded_to_bfloat16(channel_scales(blocks, level, choice, moments))
    return np.broadcast_to(scales, blocks.shape).reshape(weight.shape)
