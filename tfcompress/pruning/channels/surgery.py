"""Removes channels from a model."""

import copy

import numpy as np

from tfcompress.core.cloning import clone_layer, remake
from tfcompress.core.graph import rewire


def cut(graph, keep, values=None):
    """A copy of a model without some of its units.

    Args:
        graph: the model's `ChannelGraph`.
        keep: `(number of units,)` booleans.
        values: `{id(variable): array}`, weights to use in place of the model's own.

    Returns:
        A functional model; the model itself is not changed.
    """
    flat, trace, values = graph.flat, graph.trace, values or {}

    def count(ids):
        return int(np.count_nonzero(keep[graph.units(ids)]))

    slots = {}
    for slot in trace.slots.values():
        if not keep[graph.units(slot.ids)].all():
            slots.setdefault(id(slot.variable), []).append(slot)
    resizes, resized = {}, set()
    for name, path, ids in trace.resizes:
        resizes.setdefault(name, []).append((path, count(ids)))
        if not keep[graph.units(ids)].all():
            resized.add(name)
    remade = set()

    def replace(layer):
        variables = getattr(layer, "variables", ())
        if layer.name not in resized and not any(id(v) in slots for v in variables):
            return clone_layer(layer)
        remade.add(layer.name)
        config = _unbuilt(layer.get_config())
        for path, size in resizes.get(layer.name, ()):
            config = _with_value(config, path, size)
        return remake(layer, config)

    def call(key, operation, /, *args, **kwargs):
        if key in trace.calls:
            return trace.calls[key](count, operation, *args, **kwargs)
        return operation(*args, **kwargs)

    model = rewire(flat, call, replace)
    for old in flat.layers:
        new = model.get_layer(old.name)
        for before, after in zip(old.variables, new.variables, strict=True):
            if old.name not in remade and id(before) not in values:
                continue
            value = values.get(id(before), None)
            value = before.numpy() if value is None else value
            after.assign(left_of(value, slots.get(id(before), ()), graph, keep))
    return model


def left_of(value, slots, graph, keep):
    """The part of a weight that is left once its slots have lost their units.

    Args:
        value: array, the weight.
        slots: the `Slot`s of the weight to cut.
        graph: the model's `ChannelGraph`.
        keep: `(number of units,)` booleans.
    """
    for slot in slots:
        positions = np.flatnonzero(keep[graph.units(slot.ids)])
        value = np.take(value, positions, axis=slot.axis)
    return value


def _unbuilt(config):
    """A configuration that does not fix the shapes of inner layers."""
    if not isinstance(config, dict):
        return config
    return {k: _unbuilt(v) for k, v in config.items() if k != "build_config"}


def _with_value(config, path, value):
    """A copy of nested containers with one value replaced."""
    key, *rest = path
    config = list(config) if isinstance(config, tuple) else copy.copy(config)
    config[key] = _with_value(config[key], rest, value) if rest else value
    return config
