"""The form that post-training methods work on."""

from tfcompress.core.compress import strip
from tfcompress.core.graph import Graph, editable
from tfcompress.core.matrices import has_matrix
from tfcompress.rewrites.apply import apply_to_flat
from tfcompress.rewrites.fold_batch_norm import FoldBatchNorm


def folded(model):
    """A plain flat functional copy with batch norm folded into the layers before it."""
    flat = editable(strip(model), "quantize")
    return apply_to_flat(flat, FoldBatchNorm())


def matrix_layers(flat):
    """The layers that multiply by a kernel matrix, in the order they run, each once."""
    layers = {node.operation.name: node.operation for node in Graph(flat).nodes}
    return [layer for layer in layers.values() if has_matrix(layer)]
