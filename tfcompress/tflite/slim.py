"""Removes what a `.tflite` file holds and no runtime needs."""

import hashlib
import itertools

import numpy as np

from tfcompress.tflite.edit import drop_buffers, drop_unused_codes, numbered

NAMES = ("keep", "short", "drop")
_NOTES = (b"CONVERSION_METADATA", b"min_runtime_version")
_CONVERTER = b"MLIR Converted."


def slim(file, names="short"):
    """Drops the converter's notes and names, unused versions, and what is there twice.

    No runtime needs any of it. `write` writes equal quantizations, shapes, options and
    names once.

    Args:
        file: the object form of a model, edited in place.
        names: names of inner tensors; inputs and outputs have theirs in any case.
            `"keep"`: those of the converter, which join all layers that a tensor went
            through; `"short"`: the layer that a tensor belongs to, and numbers for
            constants, each once in a graph; `"drop"`: none.
    """
    drop_notes(file)
    drop_unused_codes(file)
    share_buffers(file)
    drop_empty(file)
    if names == "short":
        shorten_names(file)
    elif names == "drop":
        drop_names(file)


def drop_notes(file):
    """Drops what the converter notes about itself."""
    notes = [n for n in file.metadata or () if n.name in _NOTES]
    file.metadata = [n for n in file.metadata or () if n not in notes] or None
    if file.description == _CONVERTER:
        file.description = None
    drop_buffers(file, {note.buffer for note in notes})


def share_buffers(file):
    """Lets equal constants share a buffer, and tensors without one the first, empty one."""
    known, places = {}, {}
    for place, buffer in enumerate(file.buffers):
        places[place] = known.setdefault(_content(buffer), place)
    tensors = [tensor for graph in file.subgraphs for tensor in graph.tensors]
    holders = [*tensors, *(file.metadata or ())]
    for holder in holders:
        holder.buffer = places[holder.buffer]
    used = {0, *(holder.buffer for holder in holders)}
    drop_buffers(file, {*range(len(file.buffers))} - used)


def _content(buffer):
    data = b"" if buffer.data is None else np.ascontiguousarray(buffer.data, np.uint8)
    # Large files hold constants after the flatbuffer, at an offset.
    return hashlib.sha256(data).digest(), buffer.offset, buffer.size


def drop_empty(file):
    """Drops quantizations without scales, and empty lists."""
    for graph in file.subgraphs:
        for tensor in graph.tensors:
            if tensor.quantization is not None and not _is_quantized(tensor):
                tensor.quantization = None
        for operation in graph.operators:
            for name in ("intermediates", "mutatingVariableInputs"):
                if not len(getattr(operation, name) or ()):
                    setattr(operation, name, None)


def _is_quantized(tensor):
    found = tensor.quantization
    return any(
        values is not None
        for values in (found.scale, found.min, found.max, found.details)
    )


def shorten_names(file):
    """Names inner tensors after the layer that they belong to, and constants by numbers.

    The converter joins the operations that a tensor stands for, such as
    `model/relu/Relu;model/conv/convolution`. The layer here is that of the last one,
    `conv`. Viewers show constants where they are read; other tools need names that are
    there once in a graph.
    """
    for graph in file.subgraphs:
        shown = {*map(int, graph.inputs), *map(int, graph.outputs)}
        taken = {graph.tensors[place].name for place in shown}
        numbers = itertools.count(1)
        for place, tensor in enumerate(graph.tensors):
            if place in shown:
                continue
            if _is_constant(file, tensor):
                names = (b"%d" % number for number in numbers)
                tensor.name = next(name for name in names if name not in taken)
            else:
                name = _layer(tensor.name or b"") or tensor.name or b"tensor"
                tensor.name = numbered(name, taken)
            taken.add(tensor.name)


def _is_constant(file, tensor):
    data = file.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _layer(name):
    """The layer in a name, without the model and the operation; empty if there is none.

    >>> _layer(b"model/relu/Relu;model/conv/convolution"), _layer(b"constant1")
    (b'conv', b'')
    """
    return b"/".join(name.split(b";")[-1].split(b"/")[1:-1])


def drop_names(file):
    """Drops the names of inner tensors."""
    for graph in file.subgraphs:
        shown = {*graph.inputs, *graph.outputs}
        for place, tensor in enumerate(graph.tensors):
            if place not in shown:
                tensor.name = None
