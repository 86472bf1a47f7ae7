"""Approximates a matrix by a product of two thin ones."""

import math

import keras

from tfcompress.core.kinds import PlugIn
from tfcompress.core.matrices import (
    factor_equations,
    from_matrix,
    has_matrix,
    labels,
    to_matrix,
)
from tfcompress.core.nouns import Rank
from tfcompress.factorization.factorizer import (
    CONVOLUTIONS,
    Factorizer,
    kernel_of,
    like,
    pointwise,
    truncated_svd,
)


class SVD(Factorizer):
    """Splits a dense layer, an einsum or a 1x1 convolution in two by a truncated SVD.

    `W ≈ (U_r sqrt(S_r)) (sqrt(S_r) V_rᵀ)`: the best approximation of rank `r`, with the
    relative error `sqrt(Σ_{i>r} σ_i² / Σ_i σ_i²)`. The strides of a convolution are in the
    first layer. The inputs of an `EinsumDense` are all axes that it sums over, its outputs
    all that it produces. Names: `<name>_in`, `<name>`.

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

    kinds = (keras.layers.Dense, keras.layers.EinsumDense, *CONVOLUTIONS)

    def __init__(self, rank: PlugIn(Rank) = 0.25):
        self.rank = rank

    def reason(self, layer):
        """Refuses kernels larger than 1x1, and einsums that are no matrix product."""
        if isinstance(layer, keras.layers.EinsumDense):
            if "." in layer.equation:
                return f"{layer.equation} has an ellipsis: name its axes"
            is_product = has_matrix(layer)
            return None if is_product else f"{layer.equation} is no matrix product"
        size = getattr(layer, "kernel_size", (1,))
        if math.prod(size) == 1:
            return None
        return f"kernel {'x'.join(map(str, size))}, not 1x1"

    def tensor(self, layer):
        """`(inputs, outputs)`."""
        kernel = kernel_of(layer)
        if isinstance(layer, keras.layers.EinsumDense):
            return to_matrix(layer, kernel)[0]
        return kernel.reshape(kernel.shape[-2:])

    def kernel(self, tensor, layer):
        """The kernel with all its axes."""
        if isinstance(layer, keras.layers.EinsumDense):
            return from_matrix(layer, tensor[None])
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
        if isinstance(layer, keras.layers.EinsumDense):
            return _einsums(layer, rank)
        strides = {"strides": getattr(layer, "strides", 1)}
        return [pointwise(layer, "in", rank, **strides), pointwise(layer)]


def _einsums(layer, rank):
    first, last = factor_equations(layer.equation)
    (*_, made), (*_, between) = map(labels, (layer.equation, first))
    # Output shapes are without the batch.
    sizes = dict(zip(made[1:], layer.partial_output_shape, strict=True))
    kept = [sizes[label] for label in between[1:-1]]
    arguments = {"equation": first, "output_shape": [*kept, rank], "bias_axes": None}
    return [like(layer, "in", **arguments), like(layer, equation=last)]
