"""A convolution as a sum of products of vectors."""

import math

import keras
import numpy as np
import tensorly
import tensorly.decomposition

from tfcompress.core.kinds import Integer, PlugIn
from tfcompress.core.nouns import Rank
from tfcompress.factorization.factorizer import (
    Factorizer,
    axis_names,
    depthwise,
    kernel_of,
    pointwise,
    unfold,
)


class CP(Factorizer):
    """Splits a convolution into 1x1, depthwise k x 1, depthwise 1 x k and 1x1.

    `W[h, w, i, o] ≈ Σ_r A[i, r] B[h, r] C[w, r] D[r, o]`, fitted by alternating least
    squares from a fixed random start, with the norms distributed evenly. Each depthwise
    layer has the strides, dilation and padding of its axis. Names: `<name>_in`,
    `<name>_height`, `<name>_width`, `<name>`; a Conv1D has no height.

    Unlike the other methods, it is unstable: a best approximation may not exist, terms may
    grow while cancelling each other, and another start gives another result. Training
    afterwards needs a learning rate ten to a hundred times lower, and may still fail. Use
    `Tucker` or `SpatialSVD` unless the file must be as small as possible.

    `MACs = inputs r positions_in + r (height positions_1 + width positions)
    + r outputs positions` instead of `height width inputs outputs positions`.

    Args:
        rank: a `Rank`, an integer, or a fraction of the rank at which any kernel of this
            shape can be represented exactly: the product of its sizes without the
            largest. `Energy` and `EVBMF` consider the unfoldings along inputs and outputs
            and take the larger rank, the smallest at which a CP can be as accurate.
        num_iterations: maximum number of rounds of the fit; it ends when the relative
            error changes by less than 1e-8.

    Raises:
        ValueError: if an argument is out of range or the kernel has NaN.

    Source: Lebedev et al., "Speeding-up Convolutional Neural Networks Using Fine-tuned
    CP-Decomposition" (2015), section 3; de Silva and Lim, "Tensor Rank and the
    Ill-Posedness of the Best Low-Rank Approximation Problem" (2008).

    Example:
        >>> x = keras.Input((16, 16, 8))
        >>> model = keras.Model(x, keras.layers.Conv2D(16, 3)(x))
        >>> small = tfc.rewrites.apply(model, CP(12))
        >>> [tuple(layer.kernel.shape) for layer in small.layers[1:]]
        [(1, 1, 8, 12), (3, 1, 12, 1), (1, 3, 12, 1), (1, 1, 12, 16)]
    """

    kinds = (keras.layers.Conv1D, keras.layers.Conv2D)

    def __init__(self, rank: PlugIn(Rank) = 0.25, num_iterations: Integer(1) = 100):
        self.rank = rank
        self.num_iterations = num_iterations

    def reason(self, layer):
        """Refuses 1x1 kernels and causal padding."""
        if math.prod(layer.kernel_size) == 1:
            return "1x1 kernel: use svd"
        if layer.padding == "causal":
            return "causal padding, which depthwise layers do not have"
        return None

    def tensor(self, layer):
        """`(inputs, height, width, outputs)`."""
        return np.moveaxis(kernel_of(layer), -2, 0)

    def kernel(self, tensor, layer):
        """`(height, width, inputs, outputs)`."""
        return np.moveaxis(tensor, 0, -2)

    def matrices(self, tensor):
        """The unfoldings along the inputs and along the outputs."""
        return [unfold(tensor, axis) for axis in (0, -1)]

    def limits(self, tensor):
        """The number of fibres along the longest axis."""
        return (tensor.size // max(tensor.shape),) * 2

    def feasible(self, ranks, shape):
        """One rank for both unfoldings."""
        return (max(ranks),)

    def decompose(self, tensor, ranks):
        """`A (inputs, r)`, then `(size, r)` for each spatial axis, then `(r, outputs)`."""
        with tensorly.backend_context("numpy", local_threadsafe=True):
            weights, factors = tensorly.decomposition.parafac(
                tensor,
                *ranks,
                n_iter_max=self.num_iterations,
                init="random",
                normalize_factors=True,
                random_state=0,
            )
        gain = weights ** (1 / len(factors))
        *first, last = [factor * gain for factor in factors]
        return [*first, last.T]

    def compose(self, factors, shape):
        """`Σ_r A[i, r] B[h, r] C[w, r] D[r, o]`."""
        *first, last = factors
        letters = "abcd"[: len(first)]
        operands = ",".join(f"{letter}r" for letter in letters)
        return np.einsum(
            f"{operands},ro->{letters}o", *first, last, optimize=True
        ).reshape(shape)

    def chain(self, ranks, layer):
        """Two 1x1 convolutions, with one depthwise convolution per axis between them."""
        (rank,) = ranks
        axes = enumerate(axis_names(layer))
        return [
            pointwise(layer, "in", rank),
            *(depthwise(layer, name, axis) for axis, name in axes),
            pointwise(layer),
        ]
