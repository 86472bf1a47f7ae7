"""The kernel of a layer under the choices made for it, and the bytes it then needs."""

import math

import numpy as np

from tfcompress.core.matrices import from_matrix, to_matrix
from tfcompress.core.nouns import LayerRewrite, top
from tfcompress.factorization.factorizer import work
from tfcompress.quantization.post_training.nearest import Nearest
from tfcompress.quantization.post_training.scales import channel_scales
from tfcompress.transforms.clustering import optimal_clusters

# Attributes that layers with kernels have.
_KERNELS = ("kernel_initializer", "depthwise_initializer")


def named_factorizer(layer, choice):
    """The factorizer of a layer, as recipes name it; None if it is not factorized.

    `tfc.factorize` leaves a layer unchanged if that would not need fewer MACs.

    Args:
        layer: a dense or convolution layer.
        choice: `{dimension: choice}` of the layer.
    """
    name = choice.get("block")
    if not name and choice.get("rank", 1) < 1:
        is_wide = math.prod(getattr(layer, "kernel_size", (1,))) > 1
        name = {"spatial_svd" if is_wide else "svd": {"rank": choice["rank"]}}
    return name if name and _chain(layer, LayerRewrite.get(name)) else None


def _factorizer(layer, choice):
    name = named_factorizer(layer, choice)
    return LayerRewrite.get(name) if name else None


def _chain(layer, rewrite):
    """The unbuilt layers that replace one; None if they would not need fewer MACs."""
    if rewrite.length > 1 or not rewrite.matches(layer):
        return None
    chain = rewrite.chain(rewrite.ranks(layer), layer)
    return chain if _macs(layer, chain) < _macs(layer, [layer]) else None


def changed(layer, choice):
    """The kernel of a layer after applying choices.

    Args:
        layer: the original layer, which is not changed.
        choice: `{dimension: choice}` of the layer.

    Returns:
        The kernel, float32.
    """
    rewrite = _factorizer(layer, choice)
    kernel = rewrite.approximated(layer) if rewrite else layer.kernel.numpy()
    if choice.get("sparsity"):
        kernel = sparse(kernel, choice["sparsity"])
    if choice.get("clusters"):
        kernel = clustered(kernel, choice["clusters"])
    if choice.get("bits"):
        kernel = rounded(layer, kernel, choice["bits"])
    return kernel.astype(np.float32)


def sparse(kernel, sparsity):
    """A kernel without its smallest weights; existing zeros count among these."""
    count = kernel.size - math.floor(sparsity * kernel.size + 0.5)
    return kernel * top(np.abs(kernel).ravel(), count).reshape(kernel.shape)


def rounded(layer, kernel, bits):
    """A kernel on the nearest levels, with the steps of least squared error."""
    codes, scale = _codes(layer, kernel, bits)
    return from_matrix(layer, (codes * scale).astype(np.float32))


def clustered(kernel, num_clusters):
    """A kernel whose nonzero weights share few values, those of least squared error."""
    shared = kernel.copy()
    nonzero = kernel != 0
    values, places = optimal_clusters(kernel[nonzero], num_clusters)
    shared[nonzero] = values[places]
    return shared


def size_bytes(layer, choice):
    """The approximate bytes of a kernel in an encoded file: its entropy, if smaller.

        min(b, H(codes) + 1/20) n / 8

    for `n` weights of `b` bits; layers that replace a layer have its entropy.

    Args:
        layer: the original layer.
        choice: `{dimension: choice}` of the layer.
    """
    kernel = layer.kernel.numpy()
    if choice.get("sparsity"):
        kernel = sparse(kernel, choice["sparsity"])
    if choice.get("clusters"):
        codes, bits = clustered(kernel, choice["clusters"]), 8
    else:
        bits = choice.get("bits") or 8
        codes, _ = _codes(layer, kernel, bits)
    _, counts = np.unique(codes, return_counts=True)
    entropy = -np.sum(counts / codes.size * np.log2(counts / codes.size))
    return min(bits, entropy + 0.05) * num_weights(layer, choice) / 8


def num_weights(layer, choice):
    """Number of weights in the kernel, or in the kernels that replace it."""
    rewrite = _factorizer(layer, choice)
    if not rewrite:
        return math.prod(layer.kernel.shape)
    return work(_chain(layer, rewrite), layer.input.shape)[1]


def macs_ratio(layer, choice):
    """Multiply-accumulates of the layers that replace a layer, divided by its own."""
    rewrite = _factorizer(layer, choice)
    if not rewrite:
        return 1.0
    return _macs(layer, _chain(layer, rewrite)) / _macs(layer, [layer])


def paths_of_parts(path, layer, choice):
    """Paths of the layers with kernels that replace a layer, or its own path."""
    rewrite = _factorizer(layer, choice)
    if not rewrite:
        return [path]
    chain = _chain(layer, rewrite)
    return [part.name for part in chain if any(hasattr(part, n) for n in _KERNELS)]


def _macs(layer, chain):
    return work(chain, layer.input.shape)[0]


def _codes(layer, kernel, bits):
    weight, level = to_matrix(layer, kernel), 2 ** (bits - 1) - 1
    scale = channel_scales(weight, level, "mse")
    return Nearest()(weight, scale, level), scale
