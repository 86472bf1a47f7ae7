"""The form of a model on which post-training methods work."""

import keras

from tfcompress.core.compress import as_plain
from tfcompress.core.graph import Graph, editable
from tfcompress.core.keras_internals import all_layers, merge_lora
from tfcompress.core.matrices import has_matrix, is_table
from tfcompress.core.walk import leaves
from tfcompress.rewrites.apply import apply_to_flat
from tfcompress.rewrites.fold_batch_norm import FoldBatchNorm


def folded(model):
    """A plain flat functional copy with batch norm folded into the layers before it.

    LoRA updates are added to the kernels.
    """
    return apply_to_flat(plain_flat(model, "quantize"), FoldBatchNorm())


def plain_flat(model, action):
    """A plain flat functional copy with unchanged batch norm.

    Args:
        model: a built model.
        action: what will be done with it, for errors and warnings.
    """
    flat = editable(as_plain(model), action)
    for layer in all_layers(flat):
        merge_lora(layer)
    return flat


def matrix_layers(flat, with_tables=False):
    """`{path: layer}` of the layers that multiply by a kernel matrix, each once.

    They are in execution order; layers inside others are in the order of the walk.

    Args:
        flat: a flat functional model.
        with_tables: whether layers that look up rows of a table are included.
    """
    operations = {id(node.operation): node.operation for node in Graph(flat).nodes}
    found = {}
    for operation in operations.values():
        inside = leaves(operation) if isinstance(operation, keras.Layer) else []
        for path, layer in inside:
            if has_matrix(layer) or (with_tables and is_table(layer)):
                path = f"{operation.name}/{path}" if path else operation.name
                found.setdefault(id(layer), (path, layer))
    return dict(found.values())
