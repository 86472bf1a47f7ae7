"""Expands attention into its projections and the operations between them."""

import keras
import numpy as np

from tfcompress.core.agreement import check_agreement
from tfcompress.core.composite import name_inside
from tfcompress.core.graph import Graph, rewire
from tfcompress.core.keras_internals import mask_of, set_mask
from tfcompress.core.recording import main_argument
from tfcompress.core.walk import sublayers

L = keras.layers
ops = keras.ops

ATTENTION = (L.MultiHeadAttention, L.GroupQueryAttention)
# Far below all scores; a range after it begins 20 below the others.
MASKED = -1e9


def expand_attention(flat, names):
    """A flat model in which some attention layers are expanded into several layers.

    Those keep the paths that they had inside.

    Args:
        flat: a flat functional model.
        names: names of its attention layers that are expanded.

    >>> from tfcompress.core.walk import path_of
    >>> x = keras.Input((4, 8))
    >>> attention = keras.layers.MultiHeadAttention(2, 4, name="attention")
    >>> flat = expand_attention(keras.Model(x, attention(x, x)), ["attention"])
    >>> [path_of(layer.name) for layer in flat.layers if layer.weights]
    ... # doctest: +NORMALIZE_WHITESPACE
    ['attention/query', 'attention/key', 'attention/value',
     'attention/attention_output']
    """
    if not names:
        return flat
    expansion = Expansion()
    expanded = expand(
        flat, lambda node: expansion.attention if node.key[0] in names else None
    )
    expanded = expand(expanded, expansion.softmax_of)
    check_agreement(flat, expanded)
    return expanded


def expand(flat, writer_of):
    """A flat model in which some calls are replaced by several.

    Args:
        flat: a flat functional model.
        writer_of: `Node -> function(operation, *args, **kwargs)` that makes the calls,
            None for those that stay.

    Returns:
        The model itself if all calls stay.
    """
    writers = {node.key: writer_of(node) for node in Graph(flat).nodes}
    if not any(writers.values()):
        return flat

    def call(key, operation, /, *args, **kwargs):
        write = writers[key]
        if write is None:
            return operation(*args, **kwargs)
        mask = mask_of(main_argument(operation, args, kwargs))
        outputs = write(operation, *args, **kwargs)
        set_mask(keras.tree.flatten(outputs)[0], mask)
        return outputs

    return rewire(flat, call)


class Expansion:
    """Expands the attention of one model."""

    def __init__(self):
        # Names of layers whose fully masked scores give uniform weights, not zeros.
        self._evenly = set()

    def attention(self, layer, *args, **kwargs):
        """The outputs of an attention layer, made of calls of the layers inside."""
        given = arguments_by_name(layer, args, kwargs)
        with_scores = given.pop("return_attention_scores", False)
        for name in ("query", "value", "key"):
            given.setdefault(f"{name}_mask", mask_of(given.get(name)))
        if given.get("use_causal_mask") and given.get("attention_mask") is None:
            # Otherwise Keras makes the mask where it no longer knows the lengths.
            given["attention_mask"] = np.ones((1, 1, 1), bool)
        query = given["query"]
        is_one_operation = (
            not with_scores and not layer.dropout and len(query.shape) == 3
        )
        name_inside(layer)
        if is_one_operation:
            inside = sublayers(layer)
            self._evenly |= {x.name for x in inside if isinstance(x, L.Softmax)}
        # Unless scores are returned, Keras would use a single operation.
        outputs, scores = layer.call(**given, return_attention_scores=True)
        lengths = query.shape[1:-1]
        if None not in lengths:
            # Projections leave these sizes unknown.
            outputs = ops.reshape(outputs, (-1, *lengths, outputs.shape[-1]))
        return (outputs, scores) if with_scores else outputs

    def softmax_of(self, node):
        """What expands the call of a masked softmax layer of expanded attention."""
        if node.key[0] not in self._evenly:
            return None
        return self.masked_softmax_of(node)

    def masked_softmax_of(self, node):
        """What expands the call of a softmax layer with a mask, None for others."""
        if type(node.operation) is not L.Softmax:
            return None
        args, kwargs = node.arguments.args, node.arguments.kwargs
        mask = arguments_by_name(node.operation, args, kwargs).get("mask")
        return None if mask is None else self._masked_softmax

    def _masked_softmax(self, layer, inputs, mask):
        if mask.dtype != "bool":
            mask = ops.greater(mask, 0.5)
        shares = layer(ops.where(mask, inputs, MASKED))
        return shares if layer.name in self._evenly else ops.where(mask, shares, 0.0)


def arguments_by_name(layer, args, kwargs):
    """`{name: value}` of a call's arguments."""
    return dict(zip(layer.call_signature_parameters, args, strict=False)) | kwargs
