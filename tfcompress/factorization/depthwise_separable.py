"""Approximates a trained convolution by a depthwise and a 1x1 convolution."""

import math

import keras
import numpy as np

from tfcompress.core.kinds import PlugIn
from tfcompress.core.nouns import Rank
from tfcompress.factorization.factorizer import (
    Factorizer,
    depthwise,
    kernel_of,
    pointwise,
    truncated_svd,
)


class DepthwiseSeparable(Factorizer):
    """Replaces a convolution by a depthwise and a 1x1 convolution.

    `W[h, w, i, o] ≈ Σ_{j≤m} D[h, w, i, j] P[i, j, o]`: for each input channel, the
    truncated SVD of its matrix `(height width, outputs)`, which is the best least squares
    approximation with `m` depthwise filters per channel. It is a starting point for
    fine-tuning: with `m = 1`, the error is seldom small. The depthwise layer has the
    strides, dilation and padding. Names: `<name>_depthwise`, `<name>`.

    `MACs = inputs m (k^d + outputs) positions` instead of
    `k^d inputs outputs positions`.

    Args:
        rank: the depth multiplier `m`, the same for all input channels: a `Rank`, an
            integer, or a fraction of `min(k^d, outputs)`.

    Raises:
        ValueError: if the rank is out of range or the kernel has NaN.

    Source: Guo et al., "Network Decoupling: From Regular to Depthwise Separable
    Convolutions" (2018), theorem 1.

    Example:
        >>> x = keras.Input((16, 16, 8))
        >>> model = keras.Model(x, keras.layers.Conv2D(16, 3)(x))
        >>> small = tfc.rewrites.apply(model, DepthwiseSeparable(2))
        >>> [tuple(layer.kernel.shape) for layer in small.layers[1:]]
        [(3, 3, 8, 2), (1, 1, 16, 16)]
    """

    kinds = (keras.layers.Conv1D, keras.layers.Conv2D)

    def __init__(self, rank: PlugIn(Rank) = 1):
        self.rank = rank

    def reason(self, layer):
        """Refuses 1x1 kernels and causal padding."""
        if math.prod(layer.kernel_size) == 1:
            return "1x1 kernel: use svd"
        if layer.padding == "causal":
            return "causal padding, which depthwise layers do not have"
        return None

    def tensor(self, layer):
        """`(inputs, positions of the kernel, outputs)`."""
        kernel = kernel_of(layer)
        return kernel.reshape(-1, *kernel.shape[-2:]).swapaxes(0, 1)

    def kernel(self, tensor, layer):
        """`(*size of the kernel, inputs, outputs)`."""
        return tensor.swapaxes(0, 1).reshape(layer.kernel.shape)

    def matrices(self, tensor):
        """One matrix per input channel; they share the rank."""
        return [tensor]

    def decompose(self, tensor, ranks):
        """`(positions, inputs, m)` and `(inputs, m, outputs)`."""
        depth, point = truncated_svd(tensor, *ranks)
        return [depth.swapaxes(0, 1), point]

    def compose(self, factors, shape):
        """`Σ_j D[k, i, j] P[i, j, o]`."""
        return np.einsum("kij,ijo->iko", *factors, optimize=True)

    def chain(self, ranks, layer):
        """A depthwise and a 1x1 convolution."""
        (multiplier,) = ranks
        return [
            depthwise(layer, "depthwise", depth_multiplier=multiplier),
            pointwise(layer),
        ]
