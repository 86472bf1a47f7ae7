"""Which layers become binary operations, and what each reads and writes."""

import functools

import keras
import numpy as np

from tfcompress.export.binary.layers import BConv2D, BDense
from tfcompress.export.binary.signs import holds_signs
from tfcompress.export.binary.summary import BinaryLayer
from tfcompress.export.binary.thresholds import (
    NoThreshold,
    has_elementwise_activation,
    path_to_sign,
    thresholds,
)
from tfcompress.export.binary.weights import binary_weights

L = keras.layers


class Site:
    """A call of a layer that becomes a binary operation.

    Attributes:
        node: the call.
        layer: the layer.
        weights: its `BinaryWeights`.
        binarize: whether it reads signs.
        writer: the site that writes their bits, or None.
        path: the calls up to the sign `next_sign`, if it writes bits.
        thresholds: the `Thresholds` that replace them, or None.
        reason: why it writes values although a sign follows, or None.
    """

    def __init__(self, node, weights):
        self.node = node
        self.weights = weights
        self.layer = node.operation
        self.binarize, self.writer = False, None
        self.path = self.next_sign = self.thresholds = None
        self.reason = None

    @property
    def num_outputs(self):
        """Channels of the output."""
        return len(self.weights.scale)

    @property
    def bias(self):
        """The layer's bias, or zeros."""
        if not self.layer.use_bias:
            return np.zeros(self.num_outputs, np.float32)
        return self.layer.bias.numpy()

    @property
    def operation(self):
        """Class of the layer that it becomes."""
        return BDense if isinstance(self.layer, L.Dense) else BConv2D

    def described(self):
        """Its `BinaryLayer`, for the result."""
        signs = "signs" if self.binarize else "values"
        return BinaryLayer(
            self.layer.name,
            self.operation.operation_name,
            self.weights.planes,
            "bits" if self.writer else signs,
            "bits" if self.thresholds else "values",
            self.reason,
        )


def find_sites(graph, only_signs=False):
    """`(sites, BinaryLayers that stay ordinary)` of a model from `with_signs`.

    Args:
        graph: graph of the model.
        only_signs: whether layers that read real values stay ordinary.
    """
    sites, ordinary = [], {}
    for node in graph.nodes:
        weights = binary_weights(node.operation)
        if weights is None:
            continue
        binarize = holds_signs(graph, node.inputs[0])
        reason = _why_ordinary(graph, node, weights)
        if only_signs and not binarize:
            reason = reason or "its inputs are not signs, and a codec packs its weights"
        if reason:
            name = node.operation.name
            ordinary[name] = BinaryLayer(name, None, weights.planes, reason=reason)
            continue
        site = Site(node, weights)
        site.binarize = binarize
        sites.append(site)
    by_key = {site.node.key: site for site in sites}
    for site in sites:
        _join_with_readers(graph, site, by_key)
    return sites, tuple(ordinary.values())


def _why_ordinary(graph, node, weights):
    layer = node.operation
    if type(layer) not in (L.Conv2D, L.Dense):
        return f"there is no binary operation for {type(layer).__name__}"
    if isinstance(layer, L.Conv2D) and layer.groups > 1:
        return "its channels are in groups"
    if isinstance(layer, L.Conv2D) and layer.data_format != "channels_last":
        return "its channels come first"
    if sum(other.operation is layer for other in graph.nodes) > 1:
        return "it is called several times"
    if weights.packed_bytes >= 4 * weights.signs.size:
        return "its bits, padded to whole words, would take more space"
    return None


def _join_with_readers(graph, site, sites):
    """Lets a site write bits if all layers that read its signs are sites."""
    found = path_to_sign(graph, site.node) if site.binarize else None
    if found is None:
        return
    path, sign = found
    readers = [sites.get(node.key) for node in graph.consumers(sign)]
    leaves_model = any(id(t) in graph.outputs for t in sign.outputs)
    if leaves_model or not all(readers):
        site.reason = "not only binary layers read its signs"
        return
    if not has_elementwise_activation(site.layer):
        return
    try:
        site.thresholds = thresholds(
            functools.partial(_affine, site),
            path,
            site.num_outputs,
            len(site.node.outputs[0].shape),
            site.weights.fan_in,
        )
    except NoThreshold as error:
        site.reason = str(error)
        return
    site.path, site.next_sign = path, sign
    for reader in readers:
        reader.writer = site


def _affine(site, sums):
    """The layer's function of its sums."""
    return site.layer.activation(site.weights.scale * sums + site.bias)
