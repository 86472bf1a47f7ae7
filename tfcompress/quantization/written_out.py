"""Expands layers that compute several steps into operations that int8 runs."""

import keras
import numpy as np

from tfcompress.core.agreement import check_agreement
from tfcompress.core.keras_internals import symbolic_calls
from tfcompress.core.walk import is_compressed
from tfcompress.rewrites.attention import ATTENTION, MASKED, Expansion, expand

L = keras.layers
ops = keras.ops

_SEVERAL = (
    *ATTENTION,
    L.Attention,
    L.LayerNormalization,
    L.RMSNormalization,
    L.GroupNormalization,
    L.UnitNormalization,
)


def written_out(flat):
    """A flat model with attention and layer normalization expanded into operations.

    That includes attention in one operation, as in `keras.ops.dot_product_attention`.

    Each operation can then have its own range. The projections of an attention layer keep
    their paths; scale and offset of a normalization become a depthwise convolution of one
    position that keeps the name of the layer.

    Layer normalization over the last axis:

        d = x - mean(x),    y = γ d / sqrt(mean(d²) + ε) + β

    Args:
        flat: a fresh flat functional model. Compressed layers are not changed, nor are
            normalizations over other axes or in half precision.

    >>> x = keras.Input((4, 8))
    >>> flat = keras.Model(x, keras.layers.LayerNormalization(name="norm")(x))
    >>> [type(operation).__name__ for operation in written_out(flat).operations]
    ... # doctest: +NORMALIZE_WHITESPACE
    ['InputLayer', 'Mean', 'Subtract', 'Multiply', 'Mean', 'Add', 'Rsqrt', 'Multiply',
     'DepthwiseConv1D']
    """
    writing, before, written = _Writing(), None, flat
    # Attention contains a softmax layer.
    while written is not before:
        before, written = written, expand(written, writing.writer_of)
    if written is not flat:
        check_agreement(flat, written)
    return written


def unwritten(flat):
    """`{name: layer}` of layers with several steps that are not expanded."""
    return {
        layer.name: layer
        for layer in flat.layers
        if isinstance(layer.inner if is_compressed(layer) else layer, _SEVERAL)
    }


class _Writing:
    """Expands calls, and holds what calls of the same layer share."""

    def __init__(self):
        self._convolutions = {}
        self._expansion = Expansion()

    def writer_of(self, node):
        """What expands the call, None if it stays unchanged."""
        kind = type(node.operation)
        if kind in ATTENTION:
            return self._expansion.attention
        if kind.__name__ == "DotProductAttention":
            is_usual = node.operation.attn_logits_soft_cap is None
            return self._fused if is_usual and not node.operation.is_causal else None
        if kind in (L.LayerNormalization, L.RMSNormalization) and _is_plain(node):
            return self._normalization
        return self._expansion.masked_softmax_of(node)

    def _fused(self, operation, query, key, value, bias=None, mask=None, scale=None):
        """Attention that `keras.ops` computes in one operation."""
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        scores = ops.multiply(ops.einsum("bqhd,bkhd->bhqk", query, key), scale)
        if bias is not None:
            scores = ops.add(scores, bias)
        if mask is not None:
            scores = ops.where(ops.cast(mask, "bool"), scores, MASKED)
        return ops.einsum("bhqk,bkhd->bqhd", ops.softmax(scores), value)

    def _normalization(self, layer, inputs, **_):
        values = inputs
        if isinstance(layer, L.LayerNormalization):
            values = ops.subtract(values, ops.mean(values, axis=-1, keepdims=True))
            scale, offset = layer.gamma, layer.beta
        else:
            scale, offset = layer.scale, None
        power = ops.mean(ops.multiply(values, values), axis=-1, keepdims=True)
        values = ops.multiply(values, ops.rsqrt(ops.add(power, layer.epsilon)))
        if scale is None and offset is None:
            return values
        shape = values.shape
        if len(shape) == 2:
            values = ops.reshape(values, (-1, 1, shape[-1]))
        if layer.name not in self._convolutions:
            convolution = _convolution(layer, values.shape, scale, offset)
            self._convolutions[layer.name] = convolution
        outputs = self._convolutions[layer.name](values)
        return ops.reshape(outputs, (-1, shape[-1])) if len(shape) == 2 else outputs


def _is_plain(node):
    """Whether a normalization over the last axis can end in one convolution."""
    layer = node.operation
    rank, *others = {len(c.input_tensors[0].shape) for c in symbolic_calls(layer)}
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    is_last = [axis % rank for axis in axes] == [rank - 1]
    is_usual = not getattr(layer, "rms_scaling", False)
    is_single = layer.compute_dtype == "float32"
    return is_last and rank in (2, 3, 4) and not others and is_usual and is_single


def _convolution(layer, shape, scale, offset):
    """`γ x + β` as one operation, which needs no range in between."""
    kind = L.DepthwiseConv2D if len(shape) == 4 else L.DepthwiseConv1D
    limits = {}
    for limit in ("regularizer", "constraint"):
        limits[f"depthwise_{limit}"] = getattr(layer, f"gamma_{limit}", None)
        limits[f"bias_{limit}"] = getattr(layer, f"beta_{limit}", None)
    convolution = kind(
        1,
        use_bias=offset is not None,
        data_format="channels_last",
        name=layer.name,
        trainable=layer.trainable,
        **limits,
    )
    convolution.build(shape)
    scale = np.ones(shape[-1]) if scale is None else scale.numpy()
    convolution.kernel.assign(scale.reshape(convolution.kernel.shape))
    if offset is not None:
        convolution.bias.assign(offset)
    return convolution
