"""The ranges of a file's tensors, which determine the scales of its integers."""

import collections

from ai_edge_litert import schema_py_generated as schema

from tfcompress.tflite.observe import called
from tfcompress.tflite.operations import operation_name

# Their integer kernels read and write the same scale.
_SAME_SCALE = frozenset(
    """
    AVERAGE_POOL_2D BATCH_TO_SPACE_ND BROADCAST_TO CONCATENATION DEPTH_TO_SPACE
    DYNAMIC_UPDATE_SLICE EXPAND_DIMS GATHER GATHER_ND MAXIMUM MAX_POOL_2D MINIMUM
    MIRROR_PAD PACK PAD PADV2 REDUCE_MAX REDUCE_MIN RESHAPE RESIZE_BILINEAR
    RESIZE_NEAREST_NEIGHBOR REVERSE_V2 SELECT SELECT_V2 SLICE SPACE_TO_BATCH_ND
    SPACE_TO_DEPTH SPLIT SPLIT_V SQUEEZE STRIDED_SLICE TILE TRANSPOSE UNPACK
    """.split()
)
_INTEGERS = (
    schema.TensorType.INT32,
    schema.TensorType.INT64,
    schema.TensorType.BOOL,
)
_SELECT = ("SELECT", "SELECT_V2")
# Tensors with only zeros also need a range.
_LEAST_REACH = 1e-10
_DEAD = (0.0, 1.0)
# Steps of 1 in 16 bits.
_WHOLE_NUMBERS = (-32767.0, 32767.0)


def set_ranges(file, ends, bits):
    """Gives the tensors of a float file the ranges for quantization.

    If several operations read a tensor and one of them keeps its scale, the tensor shares
    the widest range with that operation's output. Otherwise the converter would take the
    narrower range for all: `min(x, 0)` would clip `x` at 0 for every reader. Inputs of a
    selection always share one range, since the converter gives them several for 16 bits.
    Values cast to integers, such as indices that come as floats, get no range and stay
    float: a quantization step would turn 2.999 into 2. For 16 bits, integers also need a
    range, which is not used, and so do indices, for which it is used if they are moved:
    they get steps of 1.

    Args:
        file: the object form of the file, edited in place.
        ends: `{(graph, index of a tensor): (smallest, largest value)}`.
        bits: bits of the integers.
    """
    whole, unused = [], []
    for index, graph in enumerate(file.subgraphs):
        cast = {(index, place) for place in _indices(file, graph)}
        whole += cast
        unused += [(index, place) for place in _integers(graph)]
        ends = {place: end for place, end in ends.items() if place not in cast}
    ranges = {place: _with_zero(*end) for place, end in ends.items()}
    for group in _groups(file, ranges, bits):
        lows, highs = zip(*(ranges[place] for place in group), strict=True)
        ranges.update(dict.fromkeys(group, (min(lows), max(highs))))
    if bits == 16:
        ranges.update(dict.fromkeys(unused, _DEAD))
        ranges.update(dict.fromkeys(whole, _WHOLE_NUMBERS))
    for (index, place), (low, high) in ranges.items():
        if max(-low, high) < _LEAST_REACH:
            low, high = _DEAD
        tensor = file.subgraphs[index].tensors[place]
        tensor.quantization = tensor.quantization or schema.QuantizationParametersT()
        tensor.quantization.min, tensor.quantization.max = [low], [high]


def _integers(graph):
    """Indices of integer and boolean tensors that are read or written."""
    written = {int(i) for op in graph.operators for i in op.outputs}
    return [
        place
        for place in written | {int(i) for i in graph.inputs}
        if graph.tensors[place].type in _INTEGERS
    ]


def _indices(file, graph):
    """Indices of floats that are cast to integers, also if they are moved before."""
    found, readers = set(), collections.Counter(int(i) for i in graph.outputs)
    good = collections.Counter()
    for operation in graph.operators:
        readers.update({int(i) for i in operation.inputs})
    for operation in reversed(graph.operators):
        if not len(operation.inputs) or not len(operation.outputs):
            continue
        name, first = operation_name(file, operation), int(operation.inputs[0])
        outputs = {int(i) for i in operation.outputs}
        is_cast = name == "CAST" and graph.tensors[min(outputs)].type in _INTEGERS
        is_moved = name in _SAME_SCALE and outputs <= found
        good[first] += is_cast or is_moved
        # In this order, earlier readers come later.
        if good[first] == readers[first]:
            found.add(first)
    return found


def _with_zero(low, high):
    return min(low, 0.0), max(high, 0.0)


def _groups(file, ranges, bits):
    """Sets of tensors with the same scale, some of which have other readers too."""
    parent = {}

    def find(place):
        while parent.get(place, place) != place:
            place = parent[place]
        return place

    def join(places):
        first, *others = [place for place in places if place in ranges] or [None]
        for other in others:
            parent[find(other)] = find(first)

    readers, kept, selected = collections.Counter(), set(), set()
    for index, graph in enumerate(file.subgraphs):
        readers.update((index, int(i)) for i in graph.outputs)
        for operation in graph.operators:
            inputs = {(index, int(i)) for i in operation.inputs} & ranges.keys()
            outputs = [(index, int(i)) for i in operation.outputs]
            readers.update(inputs)
            name = operation_name(file, operation)
            for places in _passed(file, index, operation):
                join(places)
                selected.update(places)
            if name not in _SAME_SCALE:
                continue
            join([*inputs, *outputs])
            kept |= inputs
            if bits == 16 and name in _SELECT:
                selected.update(outputs)
    members = collections.defaultdict(list)
    for place in ranges:
        members[find(place)].append(place)
    return [
        group
        for group in members.values()
        if any(
            place in selected or (place in kept and readers[place] > 1)
            for place in group
        )
    ]


def _passed(file, index, operation):
    """Tuples of the indices of one value outside and inside of a loop or branch."""
    inside = called(file, operation)
    if not inside:
        return []
    given = [[*map(int, operation.inputs)], [*map(int, operation.outputs)]]
    if operation_name(file, operation) == "IF":
        given[0] = given[0][1:]
    outside = [[(index, place) for place in places] for places in given]
    inputs, outputs = (
        [
            [(i, int(place)) for place in getattr(file.subgraphs[i], side)]
            for i in inside
        ]
        for side in ("inputs", "outputs")
    )
    if operation_name(file, operation) == "IF":
        sides = (outside[0], *inputs), (outside[1], *outputs)
        return [values for side in sides for values in zip(*side, strict=True)]
    # The first graph of a loop computes the condition, the other the next values.
    return [*zip(*outside, *inputs, outputs[1], strict=True)]
