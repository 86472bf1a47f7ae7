"""What a model says of its tensors, and LiteRT does not look at.

LiteRT takes memory for tensors of any size, and writes the values of sparse ones where
their indices point.
"""

import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.tflite.read import naming_contradictions, read, tensor_shapes

# Of 4 bytes as a rule.
_MOST_ELEMENTS = (1 << 29) - 1
_ITEM_SIZES = {
    schema.TensorType.FLOAT32: 4,
    schema.TensorType.FLOAT16: 2,
    schema.TensorType.INT8: 1,
}


def check_tensors(content):
    """Raises if a tensor of a model is larger than 2 GiB, or sparse beside itself.

    Args:
        content: bytes of a `.tflite` model.

    Raises:
        ValueError: naming the tensor.
    """
    shapes, are_sparse = tensor_shapes(content)
    for shape in shapes:
        if math.prod(map(int, shape)) > _MOST_ELEMENTS:
            raise ValueError(
                f"A tensor of shape {list(map(int, shape))} is larger than any that "
                f"LiteRT can run ({_MOST_ELEMENTS} elements). Copy or export the file "
                "again."
            )
    if not are_sparse:
        return
    file = read(content)
    for graph in file.subgraphs:
        for tensor in graph.tensors:
            if tensor.sparsity:
                _check(file, tensor)


def _check(file, tensor):
    with naming_contradictions():
        stored = _count_stored(tensor)
        data = file.buffers[tensor.buffer].data
        size = 0 if data is None else len(data)
        if stored is not None and stored * _ITEM_SIZES[tensor.type] == size:
            return
    raise ValueError(
        f"The sparse tensor {tensor.name!r} contradicts itself: its indices do not fit "
        f"its shape {list(tensor.shape)} or its {size} bytes. Copy or export the file "
        "again."
    )


def _count_stored(tensor):
    """Values that a sparse tensor stores; None if its indices do not fit."""
    sizes = _sizes(tensor)
    if sizes is None:
        return None
    count = 1
    for size, axis in zip(sizes, tensor.sparsity.dimMetadata, strict=True):
        if axis.format == schema.DimensionType.DENSE:
            if axis.denseSize != size:
                return None
            count *= size
            continue
        segments, indices = _numbers(axis.arraySegments), _numbers(axis.arrayIndices)
        if not _are_rows(segments, indices, count, size):
            return None
        count = len(indices)
    return count


def _sizes(tensor):
    """The size of each axis of storage, in its order; None if there is no such order.

    Axes from the rank on are the insides of blocks.
    """
    shape, axes = [int(size) for size in tensor.shape], tensor.sparsity.dimMetadata
    order = [int(axis) for axis in tensor.sparsity.traversalOrder]
    blocked = tensor.sparsity.blockMap
    blocked = [] if blocked is None else [int(axis) for axis in blocked]
    rank = len(shape)
    if sorted(order) != list(range(rank + len(blocked))) or len(order) != len(axes):
        return None
    sizes = dict(enumerate(shape))
    for place, axis in enumerate(blocked, rank):
        block = axes[order.index(place)].denseSize
        if not 0 <= axis < rank or block < 1 or sizes[axis] % block:
            return None
        sizes[axis] //= block
        sizes[place] = block
    return None if min(shape, default=1) < 1 else [sizes[axis] for axis in order]


def _numbers(vector):
    return np.asarray(vector.values, np.int64)


def _are_rows(segments, indices, count, size):
    """Whether `count` rows of rising indices below `size` are what is stored."""
    if len(segments) != count + 1 or segments[0] != 0 or segments[-1] != len(indices):
        return False
    is_first = np.zeros(len(indices) + 1, bool)
    if (np.diff(segments) < 0).any():
        return False
    is_first[segments] = True
    rises = np.diff(indices) > 0
    return bool(
        ((indices >= 0) & (indices < size)).all() and (rises | is_first[1:-1]).all()
    )
