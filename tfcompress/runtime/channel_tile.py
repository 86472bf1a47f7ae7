"""How many output channels LiteRT's int8 kernels compute together on this machine."""

import contextlib
import functools
import json

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.core.files import write_atomically
from tfcompress.runtime.host import cached_path, here
from tfcompress.runtime.interpreter import loaded
from tfcompress.runtime.sparse_costs import fastest_ns
from tfcompress.tflite.read import write

_TILES = (8, 16, 32, 64)
# Enough work for each call that what it takes besides does not count.
_ROWS, _INPUTS = 512, 256
# Channels within a tile take the same time; twice as many tiles, nearly twice as long.
_SAME_TIME = 1.25


def channel_tile():
    """The largest number of channels that take hardly longer than 8, from 8 to 64.

    Kernels compute whole tiles: with AMX 64 channels, with AVX-512 fewer. A layer with 65
    channels takes as long there as one with 128, and one with 8 as long as one with 64. It
    is measured when it is first needed and kept in the user's cache folder.

    Example:
        >>> channel_tile() in (8, 16, 32, 64)
        True
    """
    return _of_host()


@functools.cache
def _of_host():
    made_on = here()
    with contextlib.suppress(OSError, ValueError):
        path = cached_path("tile", made_on)
        if path.exists():
            known = json.loads(path.read_text())
            if known in _TILES:
                return known
        tile = measured()
        write_atomically(path, json.dumps(tile))
        return tile
    return measured()


def measured():
    """What `channel_tile` returns, measured now. Nothing else should run meanwhile."""
    times = {size: fastest_ns(_layer(size)) for size in _TILES}
    return largest(times)


def largest(times):
    """The largest tile, from `{number of channels: time}`.

    >>> largest({8: 1.0, 16: 1.1, 32: 1.9, 64: 3.7})
    16
    """
    limit = _SAME_TIME * times[min(times)]
    return max(size for size in times if times[size] <= limit)


def _layer(outputs):
    """A loaded int8 layer with this many outputs, as a 1x1 convolution computes them."""
    file, graph = schema.ModelT(), schema.SubGraphT()
    file.version, file.subgraphs = 3, [graph]
    file.buffers = [schema.BufferT(), schema.BufferT()]
    generator = np.random.default_rng(0)
    weights = generator.integers(-127, 128, (outputs, _INPUTS), dtype=np.int8)
    file.buffers[1].data = weights.view(np.uint8).ravel()
    shapes = (_ROWS, _INPUTS), weights.shape, (_ROWS, outputs)
    graph.tensors = [_tensor(shape) for shape in shapes]
    graph.tensors[1].buffer = 1
    code, layer = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.deprecatedBuiltinCode = code.builtinCode
    code.version = 4
    layer.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    layer.builtinOptions = schema.FullyConnectedOptionsT()
    layer.inputs, layer.outputs = np.array([0, 1, -1], np.int32), [2]
    file.operatorCodes, graph.operators = [code], [layer]
    graph.inputs, graph.outputs = [0], [2]
    return loaded(write(file), 1, "A layer to measure")


def _tensor(shape):
    tensor = schema.TensorT()
    tensor.shape, tensor.type = np.array(shape, np.int32), schema.TensorType.INT8
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = np.array([0.05], np.float32)
    tensor.quantization.zeroPoint = np.array([0], np.int64)
    return tensor
