"""What layers are fed, as the statistics that rounding their weights needs."""

import dataclasses

import numpy as np
import tensorflow as tf

from tfcompress.core.matrices import rows


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Statistics of the rows that a kernel multiplies.

    Two models run side by side: the exact one feeds a layer rows `x`, the quantized one
    rows `z`, which already have the errors of the layers before.

    Attributes:
        exact_mean, mean: `E[x]` and `E[z]`, arrays `(groups, inputs)`.
        moments: `E[z zᵀ]`, array `(groups, inputs, inputs)`; None if not asked for.
        cross: `E[z xᵀ]`, likewise.
    """

    exact_mean: np.ndarray
    mean: np.ndarray
    moments: np.ndarray | None = None
    cross: np.ndarray | None = None

    def centered(self):
        """The same without means: what is left for weights if a bias corrects means."""
        mean = self.mean[..., None]
        return dataclasses.replace(
            self,
            moments=self.moments - mean @ mean.swapaxes(1, 2),
            cross=self.cross - mean @ self.exact_mean[:, None],
        )


def measure(layer, exact, quantized, needs_moments):
    """The `Inputs` of a layer.

    Args:
        layer: one with a matrix.
        exact: list of its inputs in the exact model, one a batch.
        quantized: list of its inputs in the quantized model.
        needs_moments: whether to compute the second moments too.
    """
    sums, count = None, 0
    for x, z in zip(exact, quantized, strict=True):
        x, z = rows(layer, x), rows(layer, z)
        parts = [tf.reduce_sum(x, 1), tf.reduce_sum(z, 1)]
        if needs_moments:
            parts += [
                tf.matmul(z, z, transpose_a=True),
                tf.matmul(z, x, transpose_a=True),
            ]
        parts = [part.numpy().astype(np.float64) for part in parts]
        sums = (
            parts if sums is None else [a + b for a, b in zip(sums, parts, strict=True)]
        )
        count += int(x.shape[1])
    return Inputs(*[total / count for total in sums])
