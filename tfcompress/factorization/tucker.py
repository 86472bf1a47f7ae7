"""Splits off 1x1 convolutions, so that a convolution has fewer channels."""

import math

import numpy as np

from tfcompress.core.kinds import PlugIn
from tfcompress.core.nouns import Rank
from tfcompress.factorization.factorizer import (
    CONVOLUTIONS,
    Factorizer,
    kernel_of,
    like,
    pointwise,
    unfold,
)

_MOST_ROUNDS = 20
_LEAST_GAIN = 1e-4


class Tucker(Factorizer):
    """Splits a convolution into 1x1, k x k and 1x1: Tucker-2.

    `W[..., i, o] ≈ Σ_{r, s} U[i, r] C[..., r, s] V[s, o]`, found by higher-order orthogonal
    iteration: `U` and `V` alternately become the leading singular vectors of the unfolding
    projected by the other, until the error decreases by less than 1e-4 of the norm. The
    middle layer has the strides, dilation and padding. Names: `<name>_in`, `<name>_core`,
    `<name>`.

    `MACs = inputs r positions_in + (k^d r s + s outputs) positions`, where
    `positions_in` are those of the input, instead of `k^d inputs outputs positions`.

    Args:
        rank: a `Rank`, two integers `(r, s)`, one for both, or a fraction of
            `(inputs, outputs)`.

    Raises:
        ValueError: if the rank is out of range or the kernel has NaN.

    Source: Kim et al., "Compression of Deep Convolutional Neural Networks for Fast and
    Low Power Mobile Applications" (2016), sections 3.1 and 3.2; De Lathauwer et al.,
    "On the Best Rank-1 and Rank-(R1, ..., RN) Approximation" (2000), section 3.

    Example:
        >>> x = keras.Input((16, 16, 8))
        >>> model = keras.Model(x, keras.layers.Conv2D(16, 3)(x))
        >>> small = tfc.rewrites.apply(model, Tucker((4, 6)))
        >>> [tuple(layer.kernel.shape) for layer in small.layers[1:]]
        [(1, 1, 8, 4), (3, 3, 4, 6), (1, 1, 6, 16)]
    """

    kinds = CONVOLUTIONS

    def __init__(self, rank: PlugIn(Rank) = 0.5):
        self.rank = rank

    def reason(self, layer):
        """Refuses 1x1 kernels, which are matrices."""
        return "1x1 kernel: use svd" if math.prod(layer.kernel_size) == 1 else None

    def tensor(self, layer):
        """`(positions of the kernel, inputs, outputs)`."""
        kernel = kernel_of(layer)
        return kernel.reshape(-1, *kernel.shape[-2:])

    def kernel(self, tensor, layer):
        """The kernel with separate spatial axes."""
        return tensor.reshape(layer.kernel.shape)

    def matrices(self, tensor):
        """The unfoldings along the inputs and along the outputs."""
        return [unfold(tensor, axis) for axis in (1, 2)]

    def feasible(self, ranks, shape):
        """Ranks limited to what the core can represent."""
        window = shape[0]
        first, last = ranks
        first = min(first, window * last)
        return first, min(last, window * first)

    def decompose(self, tensor, ranks):
        """`U`, the core and `V`."""
        first_rank, last_rank = ranks
        norm = np.linalg.norm(tensor)
        last = _leading_vectors(unfold(tensor, 2), last_rank)
        error = np.inf
        for _ in range(_MOST_ROUNDS):
            first = _leading_vectors(unfold(tensor @ last, 1), first_rank)
            inside = np.tensordot(tensor, first, axes=(1, 0)).swapaxes(1, 2)
            last = _leading_vectors(unfold(inside, 2), last_rank)
            core = inside @ last
            # The factors are orthonormal, so the core has the whole norm that is kept.
            kept = np.linalg.norm(core) / norm
            previous, error = error, np.sqrt(max(1 - kept**2, 0.0))
            if previous - error < _LEAST_GAIN:
                break
        return [first, core, last.T]

    def compose(self, factors, shape):
        """`Σ_{r, s} U[i, r] C[k, r, s] V[s, o]`."""
        return np.einsum("ir,krs,so->kio", *factors, optimize=True)

    def chain(self, ranks, layer):
        """Three convolutions."""
        first, last = ranks
        return [
            pointwise(layer, "in", first),
            like(layer, "core", filters=last),
            pointwise(layer),
        ]


def _leading_vectors(matrix, rank):
    """Left singular vectors, from the small Gram matrix of a wide matrix."""
    _, vectors = np.linalg.eigh(matrix @ matrix.T)
    return vectors[:, : -rank - 1 : -1]
