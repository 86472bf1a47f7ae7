"""Number of times that each weight is used."""

import math

import numpy as np

from tfcompress.core.macs import macs
from tfcompress.core.nouns import Signal
from tfcompress.core.walk import leaf_of, leaf_refs


class Positions(Signal):
    """Multiply-accumulate operations per element of a weight and sample.

    That is the number of positions at which a kernel is applied: 1 for a dense kernel,
    height times width of the outputs for a convolution. No data is needed.

    Example:
        >>> tfc.signals.get("positions")
        Positions()
    """

    def measure(self, source):
        """One number for each weight."""
        counts = macs(source.copy)
        return [_positions(leaf_of(weight.ref), counts) for weight in source.weights]


def _positions(layer, counts):
    kernels = [ref.variable for ref in leaf_refs(layer) if ref.is_kernel]
    elements = sum(math.prod(kernel.shape) for kernel in kernels)
    return np.array(counts.get(id(layer), 0) / max(elements, 1))
