"""Importance based on magnitude, comparable between layers."""

import numpy as np

from tfcompress.core.nouns import Criterion


class LAMP(Criterion):
    """`score_i = w_i² / Σ_{|w_j| ≥ |w_i|} w_j²`, over the weights `j` of the layer.

    Within a layer it ranks by magnitude; between layers (`scope="global"`) by the
    distortion that removing the weight causes when all smaller ones are already gone.
    The largest weight of each layer scores 1, so that no layer is cut off. Groups, with
    the mean of squares in place of `w_i²`, are compared in the same way.

    Source: Lee et al., "Layer-adaptive sparsity for the magnitude-based pruning" (2021),
    equation 3.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2),
        ...     keras.layers.Dense(2)])
        >>> for layer, scale in zip(model.layers, (1.0, 0.01)):
        ...     _ = layer.kernel.assign([[scale, 2 * scale], [3 * scale, 4 * scale]])
        >>> small = tfc.prune(model, 0.5, "lamp", scope="global")
        >>> [int(np.count_nonzero(layer.kernel)) for layer in small.layers]
        [2, 2]
    """

    def __call__(self, weight, signals):
        """The squares, which `score_groups` turns into shares."""
        return np.square(weight)

    def score_groups(self, members, pool):
        """The share of each group among those that are at least as large."""
        squares = super().score_groups(members, pool)
        order = np.argsort(-squares, axis=None, kind="stable")
        descending = np.ravel(squares)[order]
        sums = np.cumsum(descending, dtype=np.float64)
        shares = np.empty_like(sums)
        shares[order] = descending / np.where(sums > 0, sums, 1.0)
        return shares.reshape(squares.shape)
