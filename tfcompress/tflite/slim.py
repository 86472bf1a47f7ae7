"""Removes what a `.tflite` file holds and no runtime needs."""

from tfcompress.tflite.edit import drop_buffers


def slim(file):
    """Drops the converter's notes, names and repeated zero points, which nothing needs.

    Names of inputs and outputs stay. Zero points are stored for each channel of each kernel
    and bias, although nearly all are zero: equal ones become one array, which `write`
    writes once. Each narrower network in a file would otherwise repeat all of this.

    Args:
        file: the object form of a model, edited in place.
    """
    drop_notes(file)
    drop_names(file)
    known = {}
    for graph in file.subgraphs:
        for tensor in graph.tensors:
            quantization = tensor.quantization
            if quantization is not None and quantization.zeroPoint is not None:
                points = quantization.zeroPoint
                quantization.zeroPoint = known.setdefault(points.tobytes(), points)


def drop_notes(file):
    """Drops what the converter notes about itself."""
    notes = [n for n in file.metadata or () if n.name == b"CONVERSION_METADATA"]
    file.metadata = [note for note in file.metadata or () if note not in notes]
    drop_buffers(file, {note.buffer for note in notes})


def drop_names(file):
    """Drops the names of inner tensors, which nothing needs."""
    for graph in file.subgraphs:
        shown = {*graph.inputs, *graph.outputs}
        for i, tensor in enumerate(graph.tensors):
            if i not in shown:
                tensor.name = None
