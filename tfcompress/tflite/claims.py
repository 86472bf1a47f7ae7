"""Checks what a model claims about its tensors and LiteRT does not check.

LiteRT allocates memory for tensors of any size, and writes the values of sparse tensors
wherever their indices point.
"""

import collections
import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.tflite.read import (
    naming_contradictions,
    read,
    tensor_shapes,
    written_tensors,
)

# Usually of 4 bytes.
_MOST_ELEMENTS = (1 << 29) - 1
_ITEM_SIZES = {
    schema.TensorType.FLOAT32: 4,
    schema.TensorType.FLOAT16: 2,
    schema.TensorType.INT8: 1,
}


def check_tensors(content):
    """Raises if a tensor of a model contradicts itself.

    It is larger than 2 GiB, has a negative size, stores values although it has no elements,
    is written twice, or its sparse values lie outside of it.

    Args:
        content: bytes of a `.tflite` model.

    Raises:
        ValueError: if there is one; names it.
    """
    shapes, are_sparse = tensor_shapes(content)
    for shape, stored in shapes:
        count = math.prod(shape)
        if count > _MOST_ELEMENTS or min(shape) < 0 or (stored and not count):
            raise ValueError(
                f"A tensor of shape {shape} with {stored} stored bytes contradicts "
                f"itself: expected sizes of at least 0, at most {_MOST_ELEMENTS} elements, "
                "and no bytes without elements. Copy or export the file again."
            )
    for places in written_tensors(content):
        twice = [
            p
            for p, count in collections.Counter(places).items()
            if count > 1 and p >= 0
        ]
        if twice:
            raise ValueError(
                f"The tensors {twice} are written by several operations: expected one "
                "per tensor. Copy or export the file again."
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
    """The number of values that a sparse tensor stores; None for invalid indices."""
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
    """The size of each storage axis, in storage order; None if the order is invalid.

    Axes from the rank on are the axes inside blocks.
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
    """Whether exactly `count` rows of increasing indices below `size` are stored."""
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
