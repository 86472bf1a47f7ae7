"""Statistics of the inputs of layers, as needed for rounding their weights."""

import dataclasses

import numpy as np
import tensorflow as tf

from tfcompress.core.matrices import rows


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Statistics of the rows that a kernel multiplies.

    Two models run side by side: the exact one feeds a layer rows `x`, the quantized one
    rows `z`, which already contain the errors of earlier layers.

    Attributes:
        exact_mean, mean: `E[x]` and `E[z]`, arrays `(groups, inputs)`.
        moments: `E[z zᵀ]`, array `(groups, inputs, inputs)`; None if not requested.
        cross: `E[z xᵀ]`, likewise.
    """

    exact_mean: np.ndarray
    mean: np.ndarray
    moments: np.ndarray | None = None
    cross: np.ndarray | None = None

    def centered(self):
        """Statistics without means: what remains for weights if a bias corrects means."""
        moments, cross = self.moments.copy(), self.cross.copy()
        _add_outer(moments, -self.mean, self.mean)
        _add_outer(cross, -self.mean, self.exact_mean)
        return dataclasses.replace(self, moments=moments, cross=cross)


def measure(layer, exact, quantized, needs_moments, centered=False):
    """The `Inputs` of a layer.

    Products are computed in float32 around the means of the first batch, so that features
    that hardly change keep their variance; sums are computed in float64.

    Args:
        layer: a layer with a kernel matrix.
        exact: list of its inputs in the exact model, one per batch.
        quantized: list of its inputs in the quantized model.
        needs_moments: whether to compute the second moments too.
        centered: whether these exclude the means, for use with a bias that corrects the
            means: `E[z zᵀ] - E[z] E[z]ᵀ` and `E[z xᵀ] - E[z] E[x]ᵀ`.
    """
    around, totals, count = None, None, 0
    for pair in zip(exact, quantized, strict=True):
        pair = [rows(layer, inputs) for inputs in pair]
        around = around or [tf.reduce_mean(a, 1, keepdims=True) for a in pair]
        x, z = (a - c for a, c in zip(pair, around, strict=True))
        parts = [tf.reduce_sum(x, 1), tf.reduce_sum(z, 1)]
        if needs_moments:
            parts += [tf.matmul(z, a, transpose_a=True) for a in (z, x)]
        totals = totals or [np.zeros(part.shape) for part in parts]
        for total, part in zip(totals, parts, strict=True):
            total += part.numpy()
        count += int(x.shape[1])
    for total in totals:
        total /= count
    shifts, products = totals[:2], totals[2:]
    means = [s + c.numpy()[:, 0] for s, c in zip(shifts, around, strict=True)]
    for product, other in zip(products, (1, 0), strict=False):
        _add_outer(product, -shifts[1], shifts[other])
        if not centered:
            _add_outer(product, means[1], means[other])
    return Inputs(*means, *products)


def _add_outer(matrices, columns, lines):
    """Adds the outer products in place, without extra memory."""
    for i in range(matrices.shape[1]):
        matrices[:, i] += columns[:, i, None] * lines
