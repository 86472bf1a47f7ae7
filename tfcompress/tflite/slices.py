"""Lets narrower networks read slices of the kernels of the widest one in a file."""

import collections
import dataclasses
import functools
import itertools
import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.coding import wire
from tfcompress.tflite.decode import TYPES
from tfcompress.tflite.edit import WEIGHT_INPUT, drop_buffers, set_constant
from tfcompress.tflite.encode import MIN_SIZE, OVERHEAD, add_part, decode_operation
from tfcompress.tflite.observe import called
from tfcompress.tflite.operations import operation_name
from tfcompress.tflite.read import naming_contradictions

# The index of the bias among the inputs of operations with a kernel.
_BIAS_INPUTS = {
    "CONV_2D": 2,
    "DEPTHWISE_CONV_2D": 2,
    "FULLY_CONNECTED": 2,
    "TRANSPOSE_CONV": 3,
}
# Rounding to integers, plus float32 errors where a weight lies between two integers.
_HALF_STEP = 0.5 + 1e-3
# Factor for the scale of a channel that is zero, which the converter makes so small that
# its bias takes 24 bits: with the factor it takes 29.
_DEAD_STEP = 1 / 32
# Largest integers of a kernel, and of inputs minus their zero point.
_LARGEST, _LARGEST_INPUT = 127, 255
# Ways of cutting axes into blocks that are tried, and positions on each axis that are
# compared before all others.
_MOST_TRIES = 256
_FEW = 8


@naming_contradictions()
def share_slices(file, whole):
    """Lets narrower networks of a file read slices of the kernels of the widest one.

    A slice keeps the first elements of each axis of a kernel, or the first ones of each of
    several blocks, such as the positions that a `Flatten` merges with channels. It is taken
    when the file is loaded.

    8-bit kernels that were rounded with different scales, since each width has its own
    folded batch norm, can also share integers: `q` of the slice and `q'` of the narrow
    network, with the scale `s'`, are roundings of the same weights if each output channel
    has an `f > 0` such that for all elements

        |q' s' - q f| <= (s' + f) / 2

    The slice then gets the scale `f` nearest to `<q' s', q> / <q, q>`, and the bias is
    rounded to its own new scale. A channel that is zero only in the narrow network gets a
    scale so small that its values stay below the rounding errors of the others.

    Args:
        file: the object form of a model, such as one from `merge`; edited in place.
        whole: name of the signature of the widest network.

    Returns:
        For each other signature, a line on what it shares, and one on each constant of at
        least 64 bytes that it does not share (except biases), and why.

    Raises:
        ValueError: if there is no such signature.
    """
    graphs = {s.signatureKey.decode(): s.subgraphIndex for s in file.signatureDefs}
    if whole not in graphs:
        raise ValueError(f"No signature {whole!r}: expected one of {[*graphs]}.")
    wide = file.subgraphs[graphs.pop(whole)]
    found = {
        name: list(_compared(file, wide, file.subgraphs[index]))
        for name, index in graphs.items()
    }
    constants = [constant for each in found.values() for constant in each]
    _leave_what_does_not_pay(file, constants)
    _insert(file, [constant for constant in constants if not constant.reason])
    return tuple(line for name, each in found.items() for line in _lines(name, each))


@dataclasses.dataclass
class _Constant:
    """A constant of a narrower network, and what becomes of it.

    Attributes:
        name: name of its tensor.
        reason: why it stays as it is, if it does.
        graph: its graph.
        place: index of its tensor.
        size_bytes: its size.
        source: index of the buffer of the constant of which it is a slice.
        ancillary: ancillary bytes of the slice; none if it is the whole constant.
        scales: new scales, if they change.
        bias: the matching `(tensor, values, scales)`.
        step_ratio: largest ratio of a new scale to the old one.
    """

    name: str
    reason: str = ""
    graph: schema.SubGraphT = None
    place: int = 0
    size_bytes: int = 0
    source: int = 0
    ancillary: bytes = b""
    scales: np.ndarray = None
    bias: tuple = None
    step_ratio: float = 1.0

    @property
    def tensor(self):
        return self.graph.tensors[self.place]

    @property
    def overhead(self):
        return OVERHEAD if self.ancillary else 0


def _compared(file, wide, narrow):
    """Compares the constants of a graph, and of graphs it runs, with a wider one's."""
    pairs = list(itertools.zip_longest(wide.operators, narrow.operators))
    names = [[op and operation_name(file, op) for op in pair] for pair in pairs]
    if any(a != b for a, b in names):
        graph = (narrow.name or b"its graph").decode()
        yield _Constant(graph, "its operations differ from those of the widest network")
        return
    seen = set()
    for operations, (name, _) in zip(pairs, names, strict=True):
        inputs = zip(*(map(int, op.inputs) for op in operations), strict=False)
        for position, places in enumerate(inputs):
            is_new = min(places) >= 0 and places[1] not in seen
            if not is_new or position == _BIAS_INPUTS.get(name):
                continue
            seen.add(places[1])
            source, tensor = wide.tensors[places[0]], narrow.tensors[places[1]]
            size = _size(file, tensor)
            if size < MIN_SIZE or source.buffer == tensor.buffer:
                continue
            label = (tensor.name or source.name or b"").decode()
            label = label or f"input {position} of {name}"
            constant = _Constant(label, "", narrow, places[1], size, source.buffer)
            has_kernel = name in _BIAS_INPUTS and position == WEIGHT_INPUT
            _decide(file, constant, source, operations[1] if has_kernel else None)
            yield constant
        for graphs in zip(*(called(file, op) for op in operations), strict=True):
            yield from _compared(file, *(file.subgraphs[index] for index in graphs))


def _size(file, tensor):
    data = file.buffers[tensor.buffer].data
    return 0 if data is None else len(data)


def _decide(file, constant, source, operation):
    """Finds how a constant is a slice, or the reason why it stays as it is.

    Args:
        file: the object form of a model.
        constant: a `_Constant`, edited in place.
        source: the tensor that it may be a slice of.
        operation: the operation that reads it as its kernel, or None.
    """
    tensor = constant.tensor
    constant.reason = _unfit(file, tensor, source)
    if constant.reason:
        return
    whole, part = _bits(file, source), _bits(file, tensor)
    found = _search(whole, [part], lambda *pair: np.array_equal(*pair) or None)
    if found:
        constant.ancillary, _ = found
        return
    constant.reason = "it is not a slice of the widest network's"
    if operation is None or not _has_scales(tensor):
        return
    channels = _channel_axis(tensor)
    scales = np.float64(tensor.quantization.scale)
    along = np.where(np.arange(part.ndim) == channels, scales.size, 1)
    scales = np.broadcast_to(scales.reshape(along), part.shape)
    found = _search(whole, [part, scales], functools.partial(_factors, channels))
    if found:
        constant.ancillary, factors = found
        constant.reason = _rescale(file, constant, operation, factors)


def _unfit(file, tensor, source):
    shapes = [[int(size) for size in t.shape] for t in (tensor, source)]
    if not _size(file, source):
        return "the widest network computes it"
    if tensor.type != source.type:
        return "the widest network's has another type"
    if tensor.type not in TYPES or tensor.type == schema.TensorType.INT4:
        return "its type cannot be sliced"
    if tensor.sparsity or source.sparsity:
        return "stored sparse"
    fits = len(shapes[0]) == len(shapes[1]) <= wire.MAX_RANK
    if not fits or any(a > b for a, b in zip(*shapes, strict=True)):
        return f"its shape {shapes[0]} is not part of {shapes[1]}"
    return ""


def _bits(file, tensor):
    """The elements of a constant as integers with the same number of bits."""
    octets = np.asarray(file.buffers[tensor.buffer].data, np.uint8)
    size = wire.Tensor(TYPES[tensor.type], ()).dtype.itemsize
    return octets.view(f"i{size}").reshape(tensor.shape)


def _search(whole, parts, fit):
    """Finds the first way of cutting that fits.

    Args:
        whole: an array.
        parts: arrays with the shape of the slice.
        fit: `fit(slice, *parts)` returns a result, or None if the slice does not fit;
            subsets of its elements have to fit as well.

    Returns:
        `(ancillary bytes, result of `fit`)`, or None; no bytes if nothing is cut.
    """
    sizes, kept = whole.shape, parts[0].shape
    few = [np.unique(np.linspace(0, size - 1, _FEW).astype(int)) for size in kept]
    divisors = [_common_divisors(*axis) for axis in zip(sizes, kept, strict=True)]
    ways = sorted(itertools.product(*divisors), key=sum)
    for blocks in ways[:_MOST_TRIES]:
        axes = zip(sizes, kept, blocks, strict=True)
        places = [wire.kept_places(*axis) for axis in axes]
        some = np.ix_(*(p[chosen] for p, chosen in zip(places, few, strict=True)))
        if fit(whole[some], *(part[np.ix_(*few)] for part in parts)) is None:
            continue
        found = fit(whole[np.ix_(*places)], *parts)
        if found is not None:
            return b"" if sizes == kept else wire.slice_of(sizes, kept, blocks), found
    return None


def _common_divisors(size, kept):
    """The numbers of blocks that an axis may have."""
    common = 1 if size == kept else math.gcd(size, kept)
    return [blocks for blocks in range(1, common + 1) if common % blocks == 0]


def _has_scales(tensor):
    quantization = tensor.quantization
    is_int8 = tensor.type == schema.TensorType.INT8 and quantization is not None
    return (
        is_int8 and quantization.scale is not None and not any(quantization.zeroPoint)
    )


def _channel_axis(tensor):
    """The axis along which a constant has scales; -1 for a single scale."""
    quantization = tensor.quantization
    return int(quantization.quantizedDimension) if len(quantization.scale) > 1 else -1


def _factors(channels, whole, part, scales):
    """Scales with which other integers are roundings of the same weights.

    Args:
        channels: axis of the channels, -1 for a single scale.
        whole: the other integers.
        part: the current integers of a constant.
        scales: their scales.

    Returns:
        One scale per channel, or None if a channel has none.
    """
    q, p, scales = (_rows(array, channels) for array in (whole, part, scales))
    size, along = np.abs(q), np.where(q == 0, np.abs(p), p * np.sign(q))
    least = (scales * (along - _HALF_STEP) / (size + _HALF_STEP)).max(axis=1)
    most = scales * (along + _HALF_STEP) / np.maximum(size - _HALF_STEP, _HALF_STEP)
    most = np.where(q == 0, np.inf, most).min(axis=1)
    norm, scale = (q * q).sum(axis=1), scales[:, 0]
    nearest = (p * scales * q).sum(axis=1) / np.maximum(norm, 1)
    # If all integers are zero, the scale stays the same.
    factors = np.clip(np.where(norm == 0, scale, nearest), least, most)
    is_dead = ~p.any(axis=1) & (norm > 0)
    negligible = _HALF_STEP / _LARGEST * factors[~is_dead].min(initial=np.inf)
    dead_factors = np.minimum(scale * _DEAD_STEP, negligible)
    factors = np.where(is_dead, dead_factors, factors)
    return factors if ((least <= most) & (factors > 0) | is_dead).all() else None


def _rows(array, channels):
    """The elements of each channel as rows; one row for `channels=-1`."""
    if channels < 0:
        return np.float64(array).reshape(1, -1)
    array = np.moveaxis(np.float64(array), channels, 0)
    return array.reshape(len(array), -1)


def _rescale(file, constant, operation, scales):
    """Notes new scales of a kernel; returns why it cannot have them, if so."""
    graph, tensor = constant.graph, constant.tensor
    if _num_readers(graph, constant.place) > 1:
        return "several operations read it, with biases in its scale"
    constant.scales = scales
    constant.step_ratio = float((scales / tensor.quantization.scale).max())
    position = _BIAS_INPUTS[operation_name(file, operation)]
    place = operation.inputs[position] if position < len(operation.inputs) else -1
    if place < 0 or graph.tensors[place].type == schema.TensorType.FLOAT32:
        return ""
    bias = graph.tensors[place]
    if not _size(file, bias) or _num_readers(graph, place) > 1:
        return "other operations share its bias"
    bias_scales = graph.tensors[operation.inputs[0]].quantization.scale * scales
    values = _bits(file, bias)
    values = np.rint(values * np.float64(bias.quantization.scale) / bias_scales)
    limits = np.iinfo(_bits(file, bias).dtype)
    num_products = math.prod(map(int, tensor.shape)) // values.size
    others = num_products * _LARGEST * _LARGEST_INPUT
    if np.abs(values).max() > limits.max - others:
        return f"its bias would exceed {limits.bits} bits"
    constant.bias = bias, values.astype(limits.dtype), bias_scales
    return ""


def _num_readers(graph, place):
    return sum(place in list(operation.inputs) for operation in graph.operators)


def _leave_what_does_not_pay(file, constants):
    """Keeps constants as they are unless all that share a buffer become slices."""
    shown = collections.Counter(t.buffer for g in file.subgraphs for t in g.tensors)
    by_buffer = collections.defaultdict(list)
    for constant in constants:
        if not constant.reason:
            by_buffer[constant.tensor.buffer].append(constant)
    for buffer, group in by_buffer.items():
        added = sum(constant.overhead for constant in group)
        if len(group) == shown[buffer] and added < group[0].size_bytes:
            continue
        for constant in group:
            constant.reason = "the file would not be smaller"


def _insert(file, constants):
    """Replaces constants by slices."""
    left = {constant.tensor.buffer for constant in constants}
    headers = {}
    for graph in file.subgraphs:
        own = [constant for constant in constants if constant.graph is graph]
        for constant in own:
            _requantize(file, constant)
            constant.tensor.buffer = 0 if constant.ancillary else constant.source
        sliced = [constant for constant in own if constant.ancillary]
        if sliced:
            pairs = _parts(file, graph, sliced, headers)
            places = [constant.place for constant in sliced]
            graph.operators.insert(0, decode_operation(file, places, pairs))
    shown = {tensor.buffer for graph in file.subgraphs for tensor in graph.tensors}
    drop_buffers(file, left - shown)


def _requantize(file, constant):
    if constant.scales is None:
        return
    constant.tensor.quantization.scale = np.float32(constant.scales)
    if constant.bias:
        bias, values, scales = constant.bias
        set_constant(file, bias, values)
        bias.quantization.scale = np.float32(scales)


def _parts(file, graph, constants, headers):
    """Indices of the encoded and ancillary bytes of slices; equal ones are shared."""
    places, pairs = {}, []
    for constant in constants:
        header = constant.ancillary
        if header not in headers:
            file.buffers.append(schema.BufferT())
            file.buffers[-1].data = np.frombuffer(header, np.uint8)
            headers[header] = len(file.buffers) - 1
        pair = constant.source, headers[header]
        for buffer in pair:
            if buffer not in places:
                places[buffer] = add_part(file, graph, buffer)
        pairs.append([places[buffer] for buffer in pair])
    return pairs


def _lines(signature, constants):
    taken = [constant for constant in constants if not constant.reason]
    saved = sum(constant.size_bytes - constant.overhead for constant in taken)
    count = sum(constant.graph is not None for constant in constants)
    line = f"{signature}: {len(taken)} of {count} constants are slices"
    if taken:
        ratio = max(constant.step_ratio for constant in taken)
        line += f", {saved:,} bytes less; steps at most {ratio:.3g} times as large"
    yield line
    for constant in constants:
        if constant.reason:
            yield f"{signature}: {constant.name} stays as it is: {constant.reason}"
