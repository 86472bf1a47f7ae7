"""Sorts channels by importance, and makes smaller models of the first of them."""

import math

import keras
import numpy as np

from tfcompress.core.agreement import check_agreement
from tfcompress.core.cloning import rebuild
from tfcompress.core.graph import Graph
from tfcompress.core.keras_internals import symbolic_calls
from tfcompress.core.layout import layout
from tfcompress.pruning.channels.selection import rounded

L = keras.layers


def sort_channels(graph, select):
    """Reorders the weights of a graph's model so that important channels come first.

    Args:
        graph: a `ChannelGraph`, whose model is edited in place.
        select: the `Selection` that scores the channels.
    """
    before = rebuild(graph.flat)
    source = np.arange(graph.num_units)
    for group, ranked in zip(select.groups, select.ranked(), strict=True):
        source[group.units] = ranked
    for slot in graph.trace.slots.values():
        order = _order(graph.units(slot.ids), source)
        slot.variable.assign(np.take(slot.variable.numpy(), order, axis=slot.axis))
    check_agreement(before, graph.flat)


def _order(units, source):
    """For each unit, the position of the unit whose place it takes."""
    by_unit = np.argsort(units, kind="stable")
    starts = np.searchsorted(units[by_unit], units)
    within = np.empty(units.size, int)
    within[by_unit] = np.arange(units.size) - starts[by_unit]
    return by_unit[np.searchsorted(units[by_unit], source[units]) + within]


def first_units(graph, groups, width, round_to):
    """Which units a width keeps: the first of each group, at least one.

    Args:
        graph: a `ChannelGraph`.
        groups: the groups that may be cut.
        width: fraction of the channels, in (0, 1].
        round_to: groups with at least this many channels keep a multiple of it.
    """
    keep = np.ones(graph.num_units, bool)
    for group in groups:
        count = math.floor(width * group.size + 0.5)
        keep[group.units[rounded(count, group, round_to) :]] = False
    return keep


def make_scales_positive(flat):
    """Negates, in place, channels whose batch norm has a negative scale.

    `γ (w x + b - μ) / σ = -γ (-w x - b + μ) / σ`. The scales then stay at or above 0 in
    training, so that integer files of several widths can share their weights: scales of
    batch norms become part of the scales of the channels, which have no sign.
    """
    before, graph = rebuild(flat), Graph(flat)
    for node in graph.nodes:
        reader = graph.only_consumer(node)
        if reader is None or not isinstance(reader.operation, L.BatchNormalization):
            continue
        layer, norm = node.operation, reader.operation
        is_linear = getattr(layer, "activation", None) is keras.activations.linear
        if norm.gamma is None or not is_linear or not hasattr(layer, "kernel"):
            continue
        form = layout(layer, layer.kernel)
        if form.num_outputs != norm.gamma.shape[0] or _is_shared(layer, norm):
            continue
        signs = np.where(norm.gamma.numpy() < 0, -1.0, 1.0).astype("float32")
        canonical = form.to_canonical(layer.kernel.numpy())
        layer.kernel.assign(form.from_canonical(canonical * signs))
        if layer.use_bias:
            layer.bias.assign(layer.bias.numpy() * signs)
        norm.moving_mean.assign(norm.moving_mean.numpy() * signs)
        norm.gamma.assign(norm.gamma.numpy() * signs)
        norm.gamma.constraint = keras.constraints.NonNeg()
    check_agreement(before, flat)


def _is_shared(*layers):
    return any(len(symbolic_calls(layer)) > 1 for layer in layers)


class Slice:
    """The part of a variable that a smaller model has: positions along some axes.

    Args:
        variable: a variable of the whole model.
        axes: `{axis: positions}`.
    """

    def __init__(self, variable, axes):
        self.variable = variable
        self._axes = axes

    @property
    def dtype(self):
        """The variable's."""
        return self.variable.dtype

    def __call__(self):
        """A tensor, through which gradients flow to the variable."""
        value = self.variable.value
        for axis, positions in self._axes.items():
            if np.array_equal(positions, np.arange(positions.size)):
                # Gradients of gathered rows are sparse, and slow.
                index = [slice(None)] * axis + [slice(positions.size)]
                value = value[tuple(index)]
            else:
                value = keras.ops.take(value, positions, axis=axis)
        return value


def slices(graph, keep, small):
    """`{id(variable of the small model): Slice of the whole model's}`.

    Args:
        graph: the `ChannelGraph` of the whole model.
        keep: `(number of units,)` booleans.
        small: the model that `cut` made of them.
    """
    axes = {}
    for slot in graph.trace.slots.values():
        positions = np.flatnonzero(keep[graph.units(slot.ids)])
        if positions.size < slot.ids.size:
            axes.setdefault(id(slot.variable), {})[slot.axis] = positions
    return {
        id(after): Slice(before, axes.get(id(before), {}))
        for old in graph.flat.layers
        for before, after in zip(
            old.variables, small.get_layer(old.name).variables, strict=True
        )
    }
