"""Gives kernels that lie on a coarse grid the scales of that grid."""

import numpy as np

from tfcompress.core.grid import integer_grid
from tfcompress.tflite.edit import WEIGHT_INPUT, int8_constant, set_constant
from tfcompress.tflite.operations import OUTPUTS_FIRST, operation_name

_BIAS_INPUT = 2
_MAX_COARSE_LEVEL = 31
_MIN_FAN_IN = 8
_TOLERANCE = 1e-3


def store_exact_grids(file, kernels=()):
    """Gives kernels that lie on a coarse grid the scales of that grid.

    The converter quantizes a dense kernel with the scale `max|w| / 127` per output and
    accepts no other scales; the same holds for convolutions if it measures ranges itself.
    Weights on a grid of `k < 127` steps then become `round(127 j / k)`; here they become
    `j`, with matching scale and bias. Coarse grids can be recognised from the codes
    themselves, finer ones only from the trained kernel.

    Args:
        file: the object form of an int8 model, edited in place.
        kernels: trained dense kernels, arrays `(outputs, inputs)`.
    """
    for graph in file.subgraphs:
        for operation in graph.operators:
            if operation_name(file, operation) in OUTPUTS_FIRST:
                _coarsen(file, graph, operation, kernels)


def _coarsen(file, graph, operation, kernels):
    index = operation.inputs[WEIGHT_INPUT]
    weight = graph.tensors[index]
    codes = int8_constant(file, weight)
    if codes is None:
        return
    # Each operation that shares a kernel has its own bias in the kernel's scale.
    if sum(index in other.inputs for other in graph.operators) > 1:
        return
    if len(weight.quantization.scale) != len(codes):
        return
    shape, codes = codes.shape, codes.reshape(len(codes), -1)
    levels = _trained_levels(codes, kernels)
    if levels is None:
        levels = _coarse_levels(codes)
    if not levels.any():
        return
    factor = np.where(levels > 0, 127 / np.maximum(levels, 1), 1.0)
    codes = np.rint(codes / factor[:, None]).astype(np.int8)
    set_constant(file, weight, codes.reshape(shape))
    weight.quantization.scale = np.float32(weight.quantization.scale * factor)
    has_bias = (
        len(operation.inputs) > _BIAS_INPUT and operation.inputs[_BIAS_INPUT] >= 0
    )
    if has_bias:
        bias = graph.tensors[operation.inputs[_BIAS_INPUT]]
        values = np.frombuffer(bytes(file.buffers[bias.buffer].data), np.int32)
        set_constant(file, bias, np.rint(values / factor).astype(np.int32))
        bias.quantization.scale = np.float32(bias.quantization.scale * factor)


def _trained_levels(codes, kernels):
    """The coarse grid of each row, or 0; None if the codes match none of the kernels.

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
