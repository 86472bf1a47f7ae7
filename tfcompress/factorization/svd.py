"""Approximates a matrix by a product of two thin ones."""

import math

import keras

from tfcompress.core.kinds import PlugIn
from tfcompress.core.nouns import Rank
from tfcompress.factorization.factorizer import (
    CONVOLUTIONS,
    Factorizer,
    kernel_of,
    pointwise,
    truncated_svd,
)


class SVD(Factorizer):
    """Splits a dense layer or a 1x1 convolution in two by a truncated SVD.

    `W ≈ (U_r sqrt(S_r)) (sqrt(S_r) V_rᵀ)`: the best approximation of rank `r`, with the
    relative error `sqrt(Σ_{i>r} σ_i² / Σ_i σ_i²)`. The strides of a convolution are in the
    first layer. Names: `<name>_in`, `<name>`.

    `MACs = r (inputs + outputs) positions` instead of `inputs outputs positions`.

    Args:
        rank: a `Rank`, an integer, or a fraction of `min(inputs, outputs)`.

    Raises:
        ValueError: if the rank is out of range or the kernel has NaN.

    Source: Xue et al., "Restructuring of Deep Neural Network Acoustic Models with
    Singular Value Decomposition" (2013), section 2.

    Example:
        >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(32)])
        >>> [layer.units for layer in tfc.rewrites.apply(model, SVD(4)).layers[1:]]
        [4, 32]
    """

    kinds = (keras.layers.Dense, *CONVOLUTIONS)

    def __init__(self, rank: PlugIn(Rank) = 0.25):
        self.rank = rank

    def reason(self, layer):
        """Refuses kernels larger than 1x1."""
        size = getattr(layer, "kernel_size", (1,))
        if math.prod(size) == 1:
            return None
        return f"kernel {'x'.join(map(str, size))}, not 1x1"

    def tensor(self, layer):
        """`(inputs, outputs)`."""
        kernel = kernel_of(layer)
        return kernel.reshape(kernel.shape[-2:])

    def kernel(self, tensor, layer):
        """The kernel with its axes of size 1."""
        return tensor.reshape(layer.kernel.shape)

    def matrices(self, tensor):
        """The kernel itself."""
        return [tensor]

    def decompose(self, tensor, ranks):
        """`(inputs, r)` and `(r, outputs)`."""
        return truncated_svd(tensor, *ranks)

    def compose(self, factors, shape):
        """The product of the two factors."""
        first, last = factors
        return first @ last

    def chain(self, ranks, layer):
        """Two layers of the same class as the old one."""
        (rank,) = ranks
        strides = {"strides": getattr(layer, "strides", 1)}
        return [pointwise(layer, "in", rank, **strides), pointwise(layer)]
