"""Cross-layer equalisation: channels that use the range of their layer evenly."""

import keras
import numpy as np

from tfcompress.core.behaviour import PASSIVE, has_ranges
from tfcompress.core.cloning import clone_layer, rebuild
from tfcompress.core.graph import Graph
from tfcompress.core.keras_internals import symbolic_calls
from tfcompress.core.kinds import BuiltModel, Flag, checked
from tfcompress.core.matrices import (
    from_matrix,
    has_matrix,
    to_matrix,
)
from tfcompress.core.walk import tied_layers
from tfcompress.quantization.post_training.folded import folded

L = keras.layers

_MAX_SWEEPS = 50
_CLOSE = 1e-3
# f(s x) = s f(x) for each channel and s > 0.
_HOMOGENEOUS = (
    L.LeakyReLU,
    L.MaxPooling1D,
    L.MaxPooling2D,
    L.AveragePooling1D,
    L.AveragePooling2D,
    L.GlobalMaxPooling1D,
    L.GlobalMaxPooling2D,
    L.GlobalAveragePooling1D,
    L.GlobalAveragePooling2D,
    L.ZeroPadding1D,
    L.ZeroPadding2D,
    L.Cropping1D,
    L.Cropping2D,
    L.UpSampling1D,
    L.UpSampling2D,
    *PASSIVE,
)
_HOMOGENEOUS_OPS = {"Relu", "LeakyRelu"}
_HOMOGENEOUS_FUNCTIONS = (keras.activations.linear, keras.activations.relu)


@checked
def equalize(model: BuiltModel(), replace_relu6: Flag() = False) -> keras.Model:
    """Returns a plain copy of `model` with equalised channels and the same outputs.

    For each channel `i` between two layers, through activations with
    `f(s x) = s f(x)`, the first layer is divided and the second multiplied by

        s_i = sqrt(r1_i r2_i) / r2_i,    r1_i = max|W1_i|,    r2_i = max|W2_i|

    over the weights that produce and that read the channel; the first layer's bias is
    divided too. This is repeated for all pairs until no `s` differs from 1 by more than
    0.001. Pairs are dense, convolution and depthwise layers that follow each other without
    branches, also through ReLU, leaky ReLU, pooling, zero padding and Flatten. Batch norm
    is folded first. Call it before `tfc.quantize_activations`, whose ranges it would
    change.

    It helps activations, whose range has one scale for all channels, and weights with one
    scale per layer; weights with one scale per channel, as written by `tfc.export_tflite`,
    gain less.

    Args:
        model: a Sequential or Functional model, or a subclassed one whose `call` uses
            only Keras; compressed models are stripped.
        replace_relu6: ReLU6 is not homogeneous, so pairs across it are not changed; True
            replaces every ReLU6 by ReLU first, which changes outputs if activations
            exceed 6.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if the model has activation ranges, or is subclassed and its graph
            cannot be followed.

    Source: DFQ, cross-layer equalization: Nagel et al., "Data-Free Quantization Through
    Weight Equalization and Bias Correction" (2019), section 4.1 and appendix A.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)),
        ...     keras.layers.Dense(2, activation="relu"), keras.layers.Dense(1)])
        >>> _ = model.layers[0].kernel.assign([[8.0, 1.0]])
        >>> _ = model.layers[1].kernel.assign([[2.0], [4.0]])
        >>> tfc.post_training.equalize(model).layers[1].kernel.numpy()
        array([[4., 2.]], dtype=float32)
    """
    flat = folded(model)
    if has_ranges(flat):
        raise ValueError(
            f"Model {model.name!r} has activation ranges, which equalisation would "
            "invalidate: call it before tfc.quantize_activations."
        )
    if replace_relu6:
        flat = rebuild(flat, _without_relu6)
    tied = tied_layers(flat)
    pairs = [
        pair for pair in _pairs(Graph(flat)) if not any(a.name in tied for a in pair)
    ]
    for _ in range(_MAX_SWEEPS):
        if all([_equalize_pair(*pair) for pair in pairs]):
            break
    return flat


def _without_relu6(layer):
    if isinstance(layer, L.ReLU) and layer.max_value == 6:
        return L.ReLU(name=layer.name, dtype=layer.dtype_policy)
    copy = clone_layer(layer)
    if getattr(layer, "activation", None) is keras.activations.relu6:
        copy.activation = keras.activations.relu
    return copy


def _pairs(graph):
    """`[(first layer, second layer)]`."""
    pairs = []
    for node in graph.nodes:
        if not _can_be_scaled(node.operation, _HOMOGENEOUS_FUNCTIONS):
            continue
        following = graph.only_consumer(node)
        while following is not None and _is_homogeneous(following.operation):
            following = graph.only_consumer(following)
        if following is not None and _can_be_scaled(following.operation):
            pairs.append((node.operation, following.operation))
    return pairs


def _can_be_scaled(layer, activations=None):
    if not has_matrix(layer) or isinstance(layer, L.EinsumDense):
        return False
    if len(symbolic_calls(layer)) != 1:
        return False
    return activations is None or layer.activation in activations


def _is_homogeneous(layer):
    if isinstance(layer, L.ReLU):
        return layer.max_value is None and not layer.threshold
    if isinstance(layer, L.Activation):
        return layer.activation in _HOMOGENEOUS_FUNCTIONS
    if isinstance(layer, (*_HOMOGENEOUS, L.Flatten)):
        return getattr(layer, "data_format", None) != "channels_first"
    return type(layer).__name__ in _HOMOGENEOUS_OPS


def _equalize_pair(first, second):
    """Scales the channels between two layers; returns whether they were even before."""
    made = to_matrix(first, first.kernel.numpy())
    read = to_matrix(second, second.kernel.numpy())
    channels = made.shape[0] * made.shape[2]
    # (groups, positions, channels of a group, outputs): each position reads each channel.
    groups = read.shape[0]
    split = read.reshape(groups, -1, channels // groups, read.shape[2])
    made_range = np.abs(made).max(axis=1).ravel()
    read_range = np.abs(split).max(axis=(1, 3)).ravel()
    used = (made_range > 0) & (read_range > 0)
    ratio = np.where(used, made_range, 1.0) / np.where(used, read_range, 1.0)
    scale = np.sqrt(ratio).astype(np.float32)
    made = made / scale.reshape(made.shape[0], 1, made.shape[2])
    split = split * scale.reshape(groups, 1, -1, 1)
    first.kernel.assign(from_matrix(first, made))
    second.kernel.assign(from_matrix(second, split.reshape(read.shape)))
    if first.use_bias:
        first.bias.assign(first.bias.numpy() / scale)
    return np.abs(scale - 1).max() <= _CLOSE
