"""Replaces constants that stand for infinity, such as those of masks."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.tflite.edit import set_constant
from tfcompress.tflite.observe import FloatFile
from tfcompress.tflite.operations import constant, operation_name

_LEAST_HUGE = 1e4
_PADS = ("PAD", "PADV2")
_BOUNDS = 2.0 ** np.arange(-4, 13.5, 0.5)
_NUM_SAMPLES = 64
# Other samples may need a little more.
_SPARE = 1.5


def bound_constants(file, samples, tolerance):
    """Moves infinite and huge constants as close to zero as the outputs allow.

    `-inf` as padding of pooling, and `-1e9` in attention masks, would become the ends of
    integer ranges whose steps are too large for anything else. It searches the smallest
    bound that does not change the file's outputs on some samples.

    Args:
        file: the object form of a float file, edited in place.
        samples: `{input name: array}`.
        tolerance: how much outputs may change, as a fraction of their spread.

    Returns:
        The number of constants that were moved.
    """
    groups = _huge_constants(file)
    if not groups:
        return 0
    few = {name: array[:_NUM_SAMPLES] for name, array in samples.items()}
    expected = FloatFile(file).outputs(few)

    def agrees(group, bound):
        _set(file, group, bound)
        return _is_close(FloatFile(file).outputs(few), expected, tolerance)

    moved = [group for group in groups if _bound(group, agrees)]
    moved += [
        [single]
        for group in groups
        if group not in moved and len(group) > 1
        for single in group
        if _bound([single], agrees)
    ]
    if moved and not agrees([], 0.0):
        for group in moved:
            _set(file, group, np.inf)
        return 0
    return sum(map(len, moved))


def _huge_constants(file):
    """Lists of `(tensor, values)`: constants for padding, and all others."""
    graph = file.subgraphs[0]
    readers = {
        int(i): operation_name(file, operation)
        for operation in graph.operators
        for i in operation.inputs
    }
    pads, others = [], []
    for place, tensor in enumerate(graph.tensors):
        if tensor.type != schema.TensorType.FLOAT32:
            continue
        values = constant(file, tensor)
        if values is None or not np.any(np.abs(values) >= _LEAST_HUGE):
            continue
        group = pads if readers.get(place) in _PADS else others
        group.append((tensor, np.array(values)))
    return [group for group in (pads, others) if group]


def _bound(group, agrees):
    """Bounds a group if some bound agrees, else leaves it unchanged."""
    low, high = 0, len(_BOUNDS)
    while low < high:
        middle = (low + high) // 2
        if agrees(group, _BOUNDS[middle]):
            high = middle
        else:
            low = middle + 1
    found = low < len(_BOUNDS)
    bound = _BOUNDS[low] * _SPARE if found else np.inf
    return agrees(group, bound) and found


def _set(file, group, bound):
    for tensor, values in group:
        set_constant(file, tensor, np.clip(values, -bound, bound).astype(np.float32))


def _is_close(actual, expected, tolerance):
    """Whether outputs differ by no more than a fraction of their spread."""
    for found, wanted in zip(actual, expected, strict=True):
        known = np.isfinite(wanted)
        if wanted.dtype.kind != "f":
            if not np.array_equal(found, wanted):
                return False
            continue
        wanted = wanted[known].astype(np.float64)
        error = np.sqrt(np.mean(np.square(found[known] - wanted)))
        if not error <= tolerance * wanted.std() + 1e-9:
            return False
    return True
