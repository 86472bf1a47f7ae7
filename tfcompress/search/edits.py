"""Changes of single layers, applied to a model by overwriting its weights."""

import contextlib
import dataclasses
import math
from collections.abc import Callable

import numpy as np

from tfcompress.core.matrices import from_matrix, to_matrix
from tfcompress.core.nouns import top
from tfcompress.pruning.channels.masks import unit_masks
from tfcompress.pruning.channels.selection import makers
from tfcompress.search.kernels import rounded, sparse


@dataclasses.dataclass(frozen=True)
class Edit:
    """One change of a layer or of a group of channels.

    Attributes:
        name: name of the change, such as `"4 bits"`.
        values: `() -> [(variable, array)]`, the new values of variables.
    """

    name: str
    values: Callable

    @contextlib.contextmanager
    def applied(self):
        """A context in which the variables have the new values."""
        values = self.values()
        before = [variable.numpy() for variable, _ in values]
        for variable, array in values:
            variable.assign(array)
        try:
            yield values
        finally:
            for (variable, _), array in zip(values, before, strict=True):
                variable.assign(array)


def bits_edit(layer, bits):
    """The kernel rounded to the nearest of `2^bits - 1` levels per channel."""
    return _of_kernel(
        layer, f"{bits} bits", lambda kernel: rounded(layer, kernel, bits)
    )


def sparsity_edit(layer, sparsity):
    """The kernel without its smallest weights."""
    return _of_kernel(
        layer, f"{sparsity:.0%} zeros", lambda kernel: sparse(kernel, sparsity)
    )


def rank_edit(layer, fraction):
    """The kernel's matrix with a fraction of its rank, from a truncated SVD."""

    def thin(kernel):
        matrix = to_matrix(layer, kernel).astype(np.float64)
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        rank = max(1, math.floor(fraction * values.shape[-1] + 0.5))
        product = left[..., :rank] * values[..., None, :rank] @ right[..., :rank, :]
        return from_matrix(layer, product.astype(np.float32))

    return _of_kernel(layer, f"{fraction:.0%} of the rank", thin)


def _of_kernel(layer, name, change):
    return Edit(name, lambda: [(layer.kernel, change(layer.kernel.numpy()))])


def channels_edit(graph, group, fraction):
    """A group of coupled channels whose smallest are zero wherever they are produced.

    Args:
        graph: the `ChannelGraph`.
        group: one of its `ChannelGroup`s.
        fraction: fraction of the channels to remove.
    """

    def values():
        norms = np.zeros(graph.num_units)
        for slot in makers(graph, [group]):
            rows = np.moveaxis(slot.variable.numpy(), slot.axis, 0)
            squares = np.square(rows.reshape(len(rows), -1)).sum(axis=1)
            np.add.at(norms, graph.units(slot.ids), squares)
        count = max(1, group.size - math.floor(fraction * group.size + 0.5))
        keep = np.ones(graph.num_units, bool)
        keep[group.units] = top(norms[group.units], count)
        masks = unit_masks(graph, keep)
        variables = {
            id(slot.variable): slot.variable for slot in graph.trace.slots.values()
        }
        return [
            (variables[key], variables[key].numpy() * mask)
            for key, mask in masks.items()
            if not mask.all()
        ]

    return Edit(f"{fraction:.0%} fewer channels", values)
