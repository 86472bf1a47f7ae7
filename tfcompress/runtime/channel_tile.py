"""How many output channels LiteRT's int8 kernels compute together on this machine."""

import functools

import numpy as np

from tfcompress.runtime.host import measured_once
from tfcompress.runtime.interpreter import loaded
from tfcompress.runtime.sparse_costs import fastest_ns
from tfcompress.tflite.dense_layer import dense_layer
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
    return measured_once("tile", measured, lambda known: _TILES[_TILES.index(known)])


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
    generator = np.random.default_rng(0)
    kernel = generator.integers(-127, 128, (outputs, _INPUTS), dtype=np.int8)
    content = write(dense_layer(kernel, _ROWS, scale=0.05))
    return loaded(content, 1, "A layer to measure")
