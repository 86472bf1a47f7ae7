"""Small edits that passes share."""

import itertools

import numpy as np
from ai_edge_litert import schema_py_generated as schema

WEIGHT_INPUT = 1


def int8_constant(file, tensor):
    """The values of a constant of 8-bit integers, None if it is not one."""
    data = file.buffers[tensor.buffer].data
    if tensor.type != schema.TensorType.INT8 or data is None or not len(data):
        return None
    return np.frombuffer(bytes(data), np.int8).reshape(tensor.shape)


def set_constant(file, tensor, array):
    """Replaces a tensor's constant; a buffer that others also use is not changed."""
    users = sum(t.buffer == tensor.buffer for g in file.subgraphs for t in g.tensors)
    if users > 1:
        file.buffers.append(schema.BufferT())
        tensor.buffer = len(file.buffers) - 1
    file.buffers[tensor.buffer].data = np.frombuffer(array.tobytes(), np.uint8)


def opcode_index(file, code):
    """The index of an operation code in a file, which is added if it is new."""
    known = [vars(other) for other in file.operatorCodes]
    if vars(code) not in known:
        file.operatorCodes.append(code)
        return len(known)
    return known.index(vars(code))


def order_ends(file, inputs, outputs):
    """Restores the order of inputs and outputs, which the converter sorts by name.

    Args:
        file: the object form of a model, edited in place.
        inputs: names of inputs in its signature, in order.
        outputs: names of outputs, likewise.
    """
    (signature,), graph = file.signatureDefs, file.subgraphs[0]
    for side, names in ("inputs", inputs), ("outputs", outputs):
        entries = {entry.name.decode(): entry for entry in getattr(signature, side)}
        ordered = [entries[name] for name in names if name in entries]
        if len(ordered) == len(entries):
            setattr(signature, side, ordered)
            places = [int(entry.tensorIndex) for entry in ordered]
            setattr(graph, side, np.array(places, np.int32))


def name_ends(file):
    """Gives inputs and outputs the names that they have in their signature.

    The converter calls them after its own operations. Viewers and runtimes without
    signatures show these names, so that each is there once in a graph: what else has it
    gets a number, and so does an output that is called as an input is.

    Args:
        file: the object form of a model, edited in place.
    """
    for signature in file.signatureDefs or ():
        tensors = file.subgraphs[signature.subgraphIndex].tensors
        names = {}
        for entry in (*signature.inputs, *signature.outputs):
            names.setdefault(int(entry.tensorIndex), entry.name)
        given = set()
        for place, name in names.items():
            tensors[place].name = numbered(name, given)
            given.add(tensors[place].name)
        for place, tensor in enumerate(tensors):
            if place not in names and tensor.name in given:
                tensor.name = numbered(
                    tensor.name, {*given, *(t.name for t in tensors)}
                )


def numbered(name, taken):
    """The name, or `name_2`, `name_3` ... where that is taken."""
    numbered = (name + b"_%d" % number for number in itertools.count(2))
    return next(n for n in itertools.chain([name], numbered) if n not in taken)


def drop_unused_codes(file):
    """Removes operation codes that are no longer used."""
    operations = [op for graph in file.subgraphs for op in graph.operators]
    kept = sorted({op.opcodeIndex for op in operations})
    places = {old: new for new, old in enumerate(kept)}
    file.operatorCodes = [file.operatorCodes[i] for i in kept]
    for operation in operations:
        operation.opcodeIndex = places[operation.opcodeIndex]


def drop_buffers(file, dropped):
    """Removes buffers, by index, that no tensor uses any more."""
    kept = [i for i in range(len(file.buffers)) if i not in dropped]
    places = {old: new for new, old in enumerate(kept)}
    file.buffers = [file.buffers[i] for i in kept]
    tensors = [tensor for graph in file.subgraphs for tensor in graph.tensors]
    for holder in [*tensors, *(file.metadata or ())]:
        holder.buffer = places[holder.buffer]


def drop_tensors(file, index, dropped, replaced=None):
    """Removes tensors of a graph, by index.

    Args:
        file: the object form of a `.tflite` file.
        index: index of the graph.
        dropped: set of tensor indices.
        replaced: `{index: index of the tensor that is read instead}`.
    """
    graph = file.subgraphs[index]
    # Steps of blocks are tensors that no operation reads.
    steps = {
        place
        for i, tensor in enumerate(graph.tensors)
        if i not in dropped
        for place in _details(tensor).values()
    }
    kept = [i for i in range(len(graph.tensors)) if i in steps or i not in dropped]
    places = np.full(len(graph.tensors) + 1, -1, np.int32)
    places[kept] = np.arange(len(kept))
    for old, new in (replaced or {}).items():
        places[old] = places[new]
    graph.tensors = [graph.tensors[i] for i in kept]
    for tensor in graph.tensors:
        for name, place in _details(tensor).items():
            setattr(tensor.quantization.details, name, int(places[place]))
    # The last entry stands for -1, an omitted input.
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


def _details(tensor):
    """`{name: index of a tensor}` with the steps of a tensor's blocks."""
    details = tensor.quantization and tensor.quantization.details
    if not isinstance(details, schema.BlockwiseQuantizationT):
        return {}
    return {name: getattr(details, name) for name in ("scales", "zeroPoints")}
