"""Places activation ranges in a graph where TFLite int8 needs them."""

import keras

from tfcompress.core.behaviour import PASSIVE
from tfcompress.core.data import Samples
from tfcompress.core.graph import Graph, editable, rewire
from tfcompress.core.keras_internals import all_layers, producer
from tfcompress.core.kinds import BuiltModel, Integer, Number, OneOf, PlugIn, checked
from tfcompress.core.left_out import closed_layers, warn_of
from tfcompress.core.nouns import Range
from tfcompress.quantization.activations.sign import Sign
from tfcompress.quantization.calibrate import calibrate
from tfcompress.quantization.layers.fake_quant import RANGES, FakeQuant
from tfcompress.quantization.layers.learned_step_quant import LearnedStepQuant
from tfcompress.quantization.layers.quantized_activation import QuantizedActivation
from tfcompress.quantization.ranges import MinMax
from tfcompress.quantization.written_out import unwritten, written_out
from tfcompress.rewrites.affine import AffineAsConvolution
from tfcompress.rewrites.apply import apply_to_flat
from tfcompress.rewrites.split_separable import SplitSeparable

L = keras.layers
LEARNED_STEP = "learned_step"

_MAX_POOLING = (L.MaxPooling1D, L.MaxPooling2D, L.MaxPooling3D)
# Their int8 kernels read and write the same scale.
_SAME_RANGE = (
    *_MAX_POOLING,
    L.GlobalMaxPooling1D,
    L.GlobalMaxPooling2D,
    L.AveragePooling1D,
    L.AveragePooling2D,
    L.ZeroPadding1D,
    L.ZeroPadding2D,
    L.ZeroPadding3D,
    L.Cropping1D,
    L.Cropping2D,
    L.Cropping3D,
    L.UpSampling1D,
    L.UpSampling2D,
    L.UpSampling3D,
    L.Resizing,
    L.Flatten,
    L.Reshape,
    L.Permute,
    L.RepeatVector,
    *PASSIVE,
)
_SAME_RANGE_OPS = {
    "Reshape",
    "Transpose",
    "GetItem",
    "Squeeze",
    "ExpandDims",
    "Pad",
    "Slice",
    "Split",
    "Max",
    "MaxPool",
    "AveragePool",
    "Resize",
    "Repeat",
    "Stack",
    "Concatenate",
    "ConvertToTensor",
}
# Rounding would change indices into a table, or categories.
_READ_PLACES = (
    L.Embedding,
    L.CategoryEncoding,
    L.Discretization,
    L.Hashing,
    L.IntegerLookup,
)
_FOLDS_BATCH_NORM = (L.Conv1D, L.Conv2D, L.Conv3D, L.DepthwiseConv2D, L.Dense)
_FIXED_RANGES = {
    "softmax": (0.0, 255 / 256),
    "sigmoid": (0.0, 255 / 256),
    "tanh": (-1.0, 127 / 128),
}
# Their outputs are those of their activation; a GRU averages them.
_ENDS_IN_ONE = (
    L.Activation,
    L.Conv1DTranspose,
    L.Conv3D,
    L.Conv3DTranspose,
    L.SeparableConv1D,
)
# -1 and 1 are the levels -127 and 127.
SIGN_RANGE = (-128 / 127, 1.0)
_FUSED_ACTIVATIONS = {"linear", "relu", "relu6"}


@checked
def quantize_activations(
    model: BuiltModel(),
    bits: Integer(2, 16) = 8,
    ranges: OneOf(*RANGES, LEARNED_STEP) | PlugIn(Range) = "moving_average",
    momentum: Number(0, below=1) = 0.99,
    samples: Samples() = None,
) -> keras.Model:
    """Returns a copy of `model` with `tfc.layers.FakeQuant` where int8 needs a range.

    A range is placed after the inputs and after every operation whose int8 kernel writes
    its own scale: convolution and dense layers (after the batch norm and the ReLU that the
    converter fuses into them), add, multiply, global pooling, and so on. Operations that
    keep their input's scale (max pooling, padding, reshape) get none, and all inputs of a
    concatenation share one range. Activations that run as a separate operation (sigmoid,
    SiLU, softmax) are split off, with a range before them; softmax, sigmoid and tanh have
    the fixed range of their kernels, and signs one that represents -1, 0 and 1 exactly.

    Batch norm trains unfolded: the converter folds it into the scales exactly.
    Normalization and Rescaling layers on images become 1x1 depthwise convolutions, since
    two separate int8 operations would need a range between them. Separable convolutions
    are split in two for the same reason. Attention (`MultiHeadAttention`,
    `GroupQueryAttention`) and normalization over the last axis (`LayerNormalization`,
    `RMSNormalization`) are expanded into operations: projections become layers
    with the paths `<name>/query` and so on, scale and offset become a 1x1 depthwise
    convolution. Layers that are already compressed are not changed in this way, so
    compress after this step.
    Other layers that contain layers are opened; a warning names those whose `call` uses
    more than Keras layers and `keras.ops`, which cannot be.

    Args:
        model: a Sequential or Functional model, compressed or not; nested models are
            expanded.
        bits: bits of the activations, 2 to 16; TFLite's int8 needs 8.
        ranges: how ranges are trained, `"moving_average"`, `"learned"` (both ends, as in
            PACT) or `"learned_step"` (`tfc.layers.LearnedStepQuant`; fixed ranges stay
            fixed); or how they are set from `samples` without training: a
            `tfc.ranges.Range` or its name, `"min_max"`, `"percentile"`, `"mse"` or
            `"entropy"`. If such a model is trained later, its ranges follow the moving
            average.
        momentum: momentum of the moving average, in [0, 1).
        samples: typical inputs: an array, `{input name: array}` or a dataset of batches.
            Ranges to be trained start at the smallest and largest values for them.

    Returns:
        A functional model with the same weights. Without samples, only fixed ranges round
        until it is trained (or called with `training=True`) on data.

    Raises:
        ValueError: if the model is subclassed, or samples are missing or do not match.

    Source: TFLite 8-bit quantization specification; Jacob et al. (2018), section 3.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> [type(l).__name__ for l in quantize_activations(model).layers]
        ['InputLayer', 'FakeQuant', 'Dense', 'FakeQuant']
    """
    is_trained = ranges in (*RANGES, LEARNED_STEP)
    setting = MinMax() if is_trained else Range.get(ranges)
    if samples is not None and ranges == LEARNED_STEP:
        raise ValueError(
            "ranges='learned_step' takes no samples: the first batch of training sets "
            "the steps."
        )
    if samples is None and not is_trained:
        raise ValueError(
            f"ranges={ranges!r} needs samples: typical inputs, such as x[:256], to "
            "measure activations on."
        )
    training = ranges if ranges in RANGES else "moving_average"
    flat = written_out(editable(model, "quantize the activations of"))
    warn_of(
        closed_layers(flat) | unwritten(flat),
        "quantize_activations placed no ranges inside {layers}",
        "Layers that cannot be traced are not opened, nor are compressed ones: only their "
        "inputs and outputs are rounded, not the tensors in between. Build them into the "
        "model with the functional API, compress it after this step, or let "
        "tfc.export_tflite calibrate the whole file from samples.",
    )
    for rewrite in (SplitSeparable(), AffineAsConvolution()):
        flat = apply_to_flat(flat, rewrite)
    flat = _split_activations(flat)
    graph = Graph(flat)
    groups = _place(graph)
    one_hot = {node.key for node in graph.nodes if _is_one_hot(node.layer)}
    layers, inputs = {}, {}

    def quantized(key, tensors):
        if key not in groups:
            return tensors
        if key in one_hot:
            # The converter would give its two values different scales.
            tensors = keras.ops.relu(tensors)
        group = groups[key]
        if group.name not in layers:
            named = {"sites": len(group.members), "name": f"{group.name}_range"}
            if ranges == LEARNED_STEP and not group.fixed:
                layer = LearnedStepQuant(bits, **named)
            else:
                layer = FakeQuant(bits, group.fixed or training, momentum, **named)
            layers[group.name] = layer
        site = {"site": group.members.index(key)} if len(group.members) > 1 else {}
        return keras.tree.map_structure(
            lambda tensor: layers[group.name](tensor, **site), tensors
        )

    def quantized_input(tensor):
        operation = producer(tensor)
        if not isinstance(operation, L.InputLayer):
            return tensor
        if operation.name not in inputs:
            inputs[operation.name] = quantized((operation.name, 0), tensor)
        return inputs[operation.name]

    def call(key, operation, /, *args, **kwargs):
        args, kwargs = keras.tree.map_structure(quantized_input, (args, kwargs))
        return quantized(key, operation(*args, **kwargs))

    quantized_model = rewire(flat, call)
    if samples is not None:
        calibrate(quantized_model, samples, setting)
    return quantized_model


class _Group:
    """Calls whose results share one range, named after the first of them."""

    def __init__(self):
        self.members = []
        self.fixed = None

    @property
    def name(self):
        operation, index = self.members[0]
        return operation if index == 0 else f"{operation}_{index}"


def _place(graph):
    """`{node key: group}` for the calls that are followed by a range."""
    ranged = [
        _behind_max_pooling(graph, node)
        for node in graph.nodes
        if not _keeps_range(node)
        and _writes_float(node)
        and not _is_fused(graph, node)
        and not _is_of_indices(graph, node)
    ]
    starts = {id(node) for node in ranged}
    parent = {}

    def find(tensor_id):
        while parent.get(tensor_id, tensor_id) != tensor_id:
            tensor_id = parent[tensor_id]
        return tensor_id

    for node in graph.nodes:
        if _keeps_range(node) and id(node) not in starts:
            first, *others = [id(t) for t in (*node.inputs, *node.outputs)]
            for other in others:
                parent[find(other)] = find(first)
    groups, by_root = {}, {}
    for node in ranged:
        group = by_root.setdefault(find(id(node.outputs[0])), _Group())
        group.members.append(node.key)
        group.fixed = _fixed_range(node) if len(group.members) == 1 else None
        groups[node.key] = group
    return groups


def _behind_max_pooling(graph, node):
    """A max pooling that alone reads `node`, or else `node`.

    Rounding in one range commutes with the maximum, and pooled tensors are smaller.
    """
    following = graph.only_consumer(node)
    if following is None or not isinstance(following.layer, _MAX_POOLING):
        return node
    if isinstance(node.layer, L.InputLayer) or _fixed_range(node):
        return node
    return following


def _keeps_range(node):
    layer = node.layer
    if isinstance(layer, L.Concatenate):
        return True
    return isinstance(layer, _SAME_RANGE) or type(layer).__name__ in _SAME_RANGE_OPS


def _writes_float(node):
    return all(keras.backend.is_float_dtype(t.dtype) for t in node.outputs)


def _is_of_indices(graph, node):
    """Whether a float input is read as indices into tables, which rounding changes."""
    return isinstance(node.layer, L.InputLayer) and _is_looked_up(graph, node)


def _is_looked_up(graph, node):
    readers = graph.consumers(node)
    return bool(readers) and all(
        _holds_table(reader.layer)
        or (_keeps_range(reader) and _is_looked_up(graph, reader))
        for reader in readers
    )


def _holds_table(layer):
    if not isinstance(layer, L.Layer):
        return False
    return any(isinstance(inside, _READ_PLACES) for inside in all_layers(layer))


def _is_fused(graph, node):
    """Whether the converter merges this call into the next, without a tensor between."""
    following = graph.only_consumer(node)
    if following is None:
        return False
    if isinstance(following.layer, L.BatchNormalization):
        return (
            isinstance(node.layer, _FOLDS_BATCH_NORM)
            and _activation(node.layer) == "linear"
        )
    linear = _activation(node.layer) == "linear"
    return (
        linear
        and _is_fused_activation(following.layer)
        and _fuses_activation(node.layer)
    )


def _fuses_activation(layer):
    return isinstance(
        layer, (*_FOLDS_BATCH_NORM, L.BatchNormalization, L.Add, L.Subtract, L.Multiply)
    ) or type(layer).__name__ in {"Add", "Subtract", "Multiply", "BConv2D", "BDense"}


def _is_fused_activation(layer):
    if isinstance(layer, L.ReLU):
        return (
            not layer.negative_slope
            and not layer.threshold
            and layer.max_value in (None, 6)
        )
    if isinstance(layer, L.Activation):
        return _activation(layer) in _FUSED_ACTIVATIONS
    return type(layer).__name__ in {"Relu", "Relu6"}


def _activation(layer):
    """Name of a layer's activation function; "linear" if it has none."""
    function = getattr(layer, "activation", None)
    return "linear" if function is None else getattr(function, "__name__", "custom")


def _fixed_range(node):
    if _is_sign(node.layer):
        return SIGN_RANGE
    name = _activation(node.layer) if isinstance(node.layer, _ENDS_IN_ONE) else None
    if isinstance(node.layer, L.Softmax):
        name = "softmax"
    return _FIXED_RANGES.get(name, _FIXED_RANGES.get(type(node.layer).__name__.lower()))


def _is_sign(layer):
    return isinstance(layer, QuantizedActivation) and isinstance(layer.quantizer, Sign)


def _is_one_hot(operation):
    encodes = getattr(operation, "output_mode", None) in (
        "one_hot",
        "multi_hot",
        "count",
    )
    return encodes or type(operation).__name__ == "OneHot"


def _split_activations(model):
    """Splits activations that TFLite does not fuse into separate layers."""
    functions = {
        node.operation.name: node.layer.activation
        for node in Graph(model).nodes
        if _runs_by_itself(node.layer)
    }

    def call(key, operation, /, *args, **kwargs):
        function = functions.get(operation.name)
        if function is None:
            return operation(*args, **kwargs)
        getattr(operation, "inner", operation).activation = keras.activations.linear
        suffix = f"_{key[1]}" if key[1] else ""
        name = f"{operation.name}_{getattr(function, '__name__', 'activation')}{suffix}"
        return L.Activation(function, name=name)(operation(*args, **kwargs))

    return rewire(model, call) if functions else model


def _runs_by_itself(layer):
    """Whether the layer's activation becomes a separate operation."""
    if isinstance(layer, L.Conv2DTranspose):
        return _activation(layer) != "linear"
    computes = (*_FOLDS_BATCH_NORM, L.SeparableConv2D, L.EinsumDense)
    return isinstance(layer, computes) and _activation(layer) not in _FUSED_ACTIVATIONS
