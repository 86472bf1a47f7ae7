"""Edits of finished `.tflite` files."""

import copy

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from tfcompress.core.grid import integer_grid
from tfcompress.tflite.operations import operation_name

WEIGHT_INPUT, _BIAS_INPUT = 1, 2
# Operations whose kernels have the output channel as their first axis.
_OUTPUTS_FIRST = ("FULLY_CONNECTED", "CONV_2D")
_MAX_COARSE_LEVEL = 31
_MIN_FAN_IN = 8
_TOLERANCE = 1e-3


def with_exact_grids(content, kernels=()):
    """Gives kernels that lie on a coarse grid the scales of that grid.

    The converter quantizes a dense kernel with `max|w| / 127` for each output and takes
    no other scale for each output; nor does it for convolutions where it measures ranges
    itself. Weights on a grid of `k < 127` steps then sit at `round(127 j / k)`; here
    they become `j`, with the scale and the bias to match. The codes themselves tell
    coarse grids; of finer ones only the trained kernel does.

    Args:
        content: bytes of an int8 `.tflite` model.
        kernels: trained dense kernels, arrays `(outputs, inputs)`.

    Returns:
        The edited bytes, or the same bytes if there is nothing to do.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    changed = False
    for graph in model.subgraphs:
        for operation in graph.operators:
            if operation_name(model, operation) not in _OUTPUTS_FIRST:
                continue
            changed |= _coarsen(model, graph, operation, kernels)
    return flatbuffer_utils.convert_object_to_bytearray(model) if changed else content


def with_rescaled_reversals(content):
    """Lets integers be rescaled before they are reversed, as behind backward LSTMs.

    REVERSE_V2 moves integers as they are, but the converter may give its output another
    scale than its input has.

    Args:
        content: bytes of a quantized `.tflite` model.

    Returns:
        The edited bytes, or the same bytes if there is nothing to do.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    found = [
        (graph, operation)
        for graph in model.subgraphs
        for operation in graph.operators
        if operation_name(model, operation) == "REVERSE_V2"
        and _scale(graph, operation.inputs) != _scale(graph, operation.outputs)
    ]
    for graph, operation in found:
        _rescale_first(model, graph, operation)
    return flatbuffer_utils.convert_object_to_bytearray(model) if found else content


def _scale(graph, tensors):
    quantization = graph.tensors[tensors[0]].quantization
    if quantization is None or quantization.scale is None:
        return None
    return *quantization.scale, *quantization.zeroPoint


def _rescale_first(model, graph, operation):
    """Puts a QUANTIZE before an operation, to the scale of its output."""
    rescaled = copy.copy(graph.tensors[operation.inputs[0]])
    rescaled.name += b"/rescaled"
    rescaled.quantization = graph.tensors[operation.outputs[0]].quantization
    graph.tensors.append(rescaled)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.QUANTIZE
    # Version 2 takes integers.
    code.version = 2
    quantize = schema.OperatorT()
    quantize.opcodeIndex = opcode_index(model, code)
    quantize.inputs = np.array(operation.inputs[:1], np.int32)
    quantize.outputs = np.array([len(graph.tensors) - 1], np.int32)
    quantize.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
    quantize.builtinOptions = schema.QuantizeOptionsT()
    operation.inputs = np.array([quantize.outputs[0], *operation.inputs[1:]], np.int32)
    graph.operators.insert(graph.operators.index(operation), quantize)


def _coarsen(model, graph, operation, kernels):
    index = operation.inputs[WEIGHT_INPUT]
    weight = graph.tensors[index]
    codes = _int8_constant(model, weight)
    if codes is None:
        return False
    # Each operation that shares a kernel has a bias of its own in the kernel's scale.
    if sum(index in other.inputs for other in graph.operators) > 1:
        return False
    if len(weight.quantization.scale) != len(codes):
        return False
    shape, codes = codes.shape, codes.reshape(len(codes), -1)
    levels = _trained_levels(codes, kernels)
    if levels is None:
        levels = _coarse_levels(codes)
    if not levels.any():
        return False
    factor = np.where(levels > 0, 127 / np.maximum(levels, 1), 1.0)
    codes = np.rint(codes / factor[:, None]).astype(np.int8)
    set_constant(model, weight, codes.reshape(shape))
    weight.quantization.scale = np.float32(weight.quantization.scale * factor)
    has_bias = (
        len(operation.inputs) > _BIAS_INPUT and operation.inputs[_BIAS_INPUT] >= 0
    )
    if has_bias:
        bias = graph.tensors[operation.inputs[_BIAS_INPUT]]
        values = np.frombuffer(bytes(model.buffers[bias.buffer].data), np.int32)
        set_constant(model, bias, np.rint(values / factor).astype(np.int32))
        bias.quantization.scale = np.float32(bias.quantization.scale * factor)
    return True


def _trained_levels(codes, kernels):
    """The coarse grid of each row, or 0; None if the codes are of none of the kernels.

    Batch norm may have changed the sign of a row.
    """
    for kernel in kernels:
        if kernel.shape != codes.shape:
            continue
        peak = np.abs(kernel).max(axis=1, keepdims=True)
        exact = 127 * np.abs(kernel) / np.where(peak > 0, peak, 1.0)
        if np.abs(np.abs(codes.astype(np.int16)) - exact).max() <= 0.5 + _TOLERANCE:
            _, levels = integer_grid(kernel.T)
            return np.where((peak[:, 0] > 0) & (levels < 127), levels, 0)
    return None


def _coarse_levels(codes):
    """The smallest grid of each row that explains its codes, 0 if there is none."""
    levels = np.zeros(len(codes), int)
    if codes.shape[1] < _MIN_FAN_IN:
        return levels
    for k in range(1, _MAX_COARSE_LEVEL + 1):
        rows = np.flatnonzero(levels == 0)
        steps = codes[rows] * (k / 127)
        error = np.abs(codes[rows] - np.rint(steps) * (127 / k))
        levels[rows[(error <= 0.5 + 1e-6).all(axis=1)]] = k
    return levels


def pack_int4(content):
    """Stores convolution and dense kernels whose codes fit in 4 bits as INT4.

    Args:
        content: bytes of an int8 `.tflite` model.

    Returns:
        The edited bytes.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    for graph in model.subgraphs:
        for operation in graph.operators:
            if operation_name(model, operation) not in _OUTPUTS_FIRST:
                continue
            weight = graph.tensors[operation.inputs[WEIGHT_INPUT]]
            codes = _int8_constant(model, weight)
            if codes is not None and np.abs(codes.astype(int)).max() <= 7:
                set_constant(model, weight, _packed_nibbles(codes))
                weight.type = schema.TensorType.INT4
    return flatbuffer_utils.convert_object_to_bytearray(model)


def _packed_nibbles(codes):
    """Two's complement nibbles, the first element in the low half of a byte."""
    flat = codes.ravel().view(np.uint8) & 0x0F
    flat = np.pad(flat, (0, flat.size % 2))
    return flat[0::2] | (flat[1::2] << 4)


def _int8_constant(model, tensor):
    data = model.buffers[tensor.buffer].data
    if tensor.type != schema.TensorType.INT8 or data is None or not len(data):
        return None
    return np.frombuffer(bytes(data), np.int8).reshape(tensor.shape)


def set_constant(model, tensor, array):
    """Replaces a tensor's constant; a buffer that others use too is left to them."""
    users = sum(t.buffer == tensor.buffer for g in model.subgraphs for t in g.tensors)
    if users > 1:
        model.buffers.append(schema.BufferT())
        tensor.buffer = len(model.buffers) - 1
    model.buffers[tensor.buffer].data = np.frombuffer(array.tobytes(), np.uint8)


def opcode_index(file, code):
    """The place of a kind of operation in a file, which is added if it is new."""
    known = [vars(other) for other in file.operatorCodes]
    if vars(code) not in known:
        file.operatorCodes.append(code)
        return len(known)
    return known.index(vars(code))


def drop_buffers(file, dropped):
    """Removes buffers, by their places, that nothing shows any more."""
    kept = [i for i in range(len(file.buffers)) if i not in dropped]
    places = {old: new for new, old in enumerate(kept)}
    file.buffers = [file.buffers[i] for i in kept]
    tensors = [tensor for graph in file.subgraphs for tensor in graph.tensors]
    for holder in [*tensors, *(file.metadata or ())]:
        holder.buffer = places[holder.buffer]


def drop_tensors(file, index, dropped, replaced=None):
    """Removes tensors of a graph, by their places.

    Args:
        file: the object form of a `.tflite` model.
        index: of the graph.
        dropped: set of places.
        replaced: `{place: place of the tensor that is read in its stead}`.
    """
    graph = file.subgraphs[index]
    kept = [i for i in range(len(graph.tensors)) if i not in dropped]
    places = np.full(len(graph.tensors) + 1, -1, np.int32)
    places[kept] = np.arange(len(kept))
    for old, new in (replaced or {}).items():
        places[old] = places[new]
    graph.tensors = [graph.tensors[i] for i in kept]
    # The last place stands for -1, an input that is left out.
    for holder in [graph, *graph.operators]:
        for side in ("inputs", "outputs", "intermediates"):
            if getattr(holder, side, None) is not None:
                setattr(
                    holder, side, places[np.asarray(getattr(holder, side), np.int32)]
                )
    for signature in file.signatureDefs or ():
        if signature.subgraphIndex == index:
            for entry in [*signature.inputs, *signature.outputs]:
                entry.tensorIndex = int(places[entry.tensorIndex])
