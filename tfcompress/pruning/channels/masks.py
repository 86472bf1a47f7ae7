"""Which elements of all weights belong to the units that stay."""

import numpy as np

from tfcompress.pruning.channels.graph import followed


def graph_of_masks(model, masked):
    """The `ChannelGraph` of a model, and which of its weights have masks.

    Args:
        model: a Keras model.
        masked: list of its `Prunable`s.

    Returns:
        The graph, and `{id(variable): Prunable}` with the graph's variables.
    """
    graph, variables = followed(model)
    by_variable = {id(weight.ref.variable): weight for weight in masked}
    return graph, {
        key: by_variable[id(variable)]
        for key, variable in variables.items()
        if id(variable) in by_variable
    }


def unit_masks(graph, keep):
    """Masks of the weights that produce or carry channels, for a choice of units.

    Weights that only read channels are not masked: their inputs are zero.

    Args:
        graph: a `ChannelGraph`.
        keep: `(number of units,)` booleans.

    Returns:
        `{id(variable): booleans}` that broadcast to the variable.
    """
    masks = {}
    for key, axes in unit_axes(graph).items():
        for units, shape in axes:
            kept = keep[units].reshape(shape)
            masks[key] = masks[key] & kept if key in masks else kept
    return masks


def unit_axes(graph):
    """Where units are located in the weights that produce or carry channels.

    Args:
        graph: a `ChannelGraph`.

    Returns:
        `{id(variable): [(units along an axis, shape in which they broadcast)]}`.
    """
    found = {}
    for slot in graph.trace.slots.values():
        if slot.role == "input":
            continue
        shape = [1] * len(slot.variable.shape)
        shape[slot.axis] = -1
        found.setdefault(id(slot.variable), []).append((graph.units(slot.ids), shape))
    return found


def units_left(graph, groups, masks):
    """The units of which masks leave something, `(number of units,)` booleans.

    Args:
        graph: a `ChannelGraph`.
        groups: list of `ChannelGroup`; the units of others stay.
        masks: `{id(variable): booleans}` of the variable's shape; variables without a
            mask, such as some biases, are ignored.
    """
    keep = np.ones(graph.num_units, bool)
    for group in groups:
        keep[group.units] = False
    for slot in graph.trace.slots.values():
        if slot.role != "output" or id(slot.variable) not in masks:
            continue
        rows = np.moveaxis(masks[id(slot.variable)], slot.axis, 0)
        left = rows.reshape(len(rows), -1).any(axis=1)
        keep[graph.units(slot.ids)[left]] = True
    return keep
