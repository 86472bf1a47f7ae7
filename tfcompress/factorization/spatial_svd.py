"""Splits a k x k convolution into a column and a row."""

import keras
import numpy as np

from tfcompress.core.kinds import PlugIn
from tfcompress.core.nouns import Rank
from tfcompress.factorization.factorizer import (
    Factorizer,
    along,
    kernel_of,
    truncated_svd,
)


class SpatialSVD(Factorizer):
    """Splits a `k x k` convolution into `k x 1`, then `1 x k`.

    `W[h, w, i, o] ≈ Σ_r V[h, i, r] H[w, r, o]`, the truncated SVD of the matrix
    `(height inputs, width outputs)` and therefore the best approximation of rank `r`. Each
    layer has the strides, dilation and padding of its axis. Names: `<name>_height`,
    `<name>`.

    `MACs = r (height inputs positions_1 + width outputs positions)` instead of
    `height width inputs outputs positions`, with `positions_1` of the column, whose output
    is strided only along the height.

    Args:
        rank: a `Rank`, an integer, or a fraction of
            `min(height inputs, width outputs)`.

    Raises:
        ValueError: if the rank is out of range or the kernel has NaN.

    Source: Jaderberg et al., "Speeding up Convolutional Neural Networks with Low Rank
    Expansions" (2014), section 2.2, scheme 2.

    Example:
        >>> x = keras.Input((16, 16, 8))
        >>> model = keras.Model(x, keras.layers.Conv2D(8, 3)(x))
        >>> small = tfc.rewrites.apply(model, SpatialSVD(6))
        >>> [tuple(layer.kernel.shape) for layer in small.layers[1:]]
        [(3, 1, 8, 6), (1, 3, 6, 8)]
    """

    kinds = (keras.layers.Conv2D,)

    def __init__(self, rank: PlugIn(Rank) = 0.25):
        self.rank = rank

    def reason(self, layer):
        """Refuses kernels that are already flat."""
        if min(layer.kernel_size) > 1:
            return None
        return f"kernel {'x'.join(map(str, layer.kernel_size))} is already flat"

    def tensor(self, layer):
        """`(height, inputs, width, outputs)`."""
        return kernel_of(layer).transpose(0, 2, 1, 3)

    def kernel(self, tensor, layer):
        """`(height, width, inputs, outputs)`."""
        return tensor.transpose(0, 2, 1, 3)

    def matrices(self, tensor):
        """`(height inputs, width outputs)`."""
        height, inputs, width, outputs = tensor.shape
        return [tensor.reshape(height * inputs, width * outputs)]

    def decompose(self, tensor, ranks):
        """`(height, inputs, r)` and `(width, r, outputs)`."""
        height, inputs, width, outputs = tensor.shape
        column, row = truncated_svd(*self.matrices(tensor), *ranks)
        return [
            column.reshape(height, inputs, -1),
            row.reshape(-1, width, outputs).swapaxes(0, 1),
        ]

    def compose(self, factors, shape):
        """`Σ_r V[h, i, r] H[w, r, o]`."""
        return np.einsum("hir,wro->hiwo", *factors, optimize=True)

    def chain(self, ranks, layer):
        """Two convolutions."""
        (rank,) = ranks
        return [along(layer, 0, "height", rank), along(layer, 1)]
