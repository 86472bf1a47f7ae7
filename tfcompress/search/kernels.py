"""What choices make of the kernel of one layer, and what it then takes to store."""

import math

import numpy as np

from tfcompress.core.matrices import from_matrix, to_matrix
from tfcompress.core.nouns import LayerRewrite, top
from tfcompress.factorization.factorizer import work
from tfcompress.quantization.post_training.nearest import Nearest
from tfcompress.quantization.post_training.scales import channel_scales
from tfcompress.transforms.clustering import optimal_clusters

# What layers with kernels have.
_KERNELS = ("kernel_initializer", "depthwise_initializer")


def named_factorizer(layer, choice):
    """What takes a layer apart, as recipes name it; None if it stays whole.

    `tfc.factorize` leaves layers alone that would not take fewer MACs.

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
    """The layers in the place of one, not built; None if they would not pay."""
    if rewrite.length > 1 or not rewrite.matches(layer):
        return None
    chain = rewrite.chain(rewrite.ranks(layer), layer)
    return chain if _macs(layer, chain) < _macs(layer, [layer]) else None


def changed(layer, choice):
    """The kernel of a layer as choices would have it.

    Args:
        layer: as it is; it is not changed.
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
    """Without its smallest weights; those that are zero already count among them."""
    count = kernel.size - math.floor(sparsity * kernel.size + 0.5)
    return kernel * top(np.abs(kernel).ravel(), count).reshape(kernel.shape)


def rounded(layer, kernel, bits):
    """On the nearest levels, with the steps of least squared error."""
    codes, scale = _codes(layer, kernel, bits)
    return from_matrix(layer, (codes * scale).astype(np.float32))


def clustered(kernel, num_clusters):
    """With few values for what is not zero, those of least squared error."""
    shared = kernel.copy()
    nonzero = kernel != 0
    values, places = optimal_clusters(kernel[nonzero], num_clusters)
    shared[nonzero] = values[places]
    return shared


def size_bytes(layer, choice):
    """About what the kernel takes in an encoded file: its entropy, if that is less.

        min(b, H(codes) + 1/20) n / 8

    for `n` weights of `b` bits; layers in the place of one have its entropy.

    Args:
        layer: as it is.
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
    """Of the kernel, or of the kernels in its place."""
    rewrite = _factorizer(layer, choice)
    if not rewrite:
        return math.prod(layer.kernel.shape)
    return work(_chain(layer, rewrite), layer.input.shape)[1]


def macs_ratio(layer, choice):
    """Multiply-accumulates of what is in the place of a layer, by its own."""
    rewrite = _factorizer(layer, choice)
    if not rewrite:
        return 1.0
    return _macs(layer, _chain(layer, rewrite)) / _macs(layer, [layer])


def paths_of_parts(path, layer, choice):
    """Of the layers with kernels that take the place of one, or its own."""
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
