"""Whole channels masked while a model trains."""

import numpy as np

from tfcompress.core.collect import collect
from tfcompress.core.graph import flatten_with_origins
from tfcompress.pruning.callback import Pruning
from tfcompress.pruning.channels.graph import ChannelGraph
from tfcompress.pruning.channels.selection import Selection, free_groups, makers


class ChannelPruning(Pruning):
    """Masks channels together with all that they are coupled to, step by step.

    Like `Pruning`, but the units are those of `tfc.channel_groups`: one that goes is
    masked in every kernel that makes it and, where these have masks too, in biases and
    normalisation, so that it is exactly zero and `tfc.shrink` can take it out after
    training. A group is pruned if all kernels that make it have a `Mask`.

    Args:
        schedule: a `tfc.schedules` object, or a number for a constant sparsity; the
            fraction of units to remove.
        criterion: a `tfc.criteria` object or name; a unit scores the mean over all
            weights that make it.
        scope: a `tfc.scopes` object or name.
        round_to: groups keep a multiple of this many channels.
        data: batches over which criteria that need signals gather them.
        ignore: patterns of layers whose outputs stay whole.

    Raises:
        ValueError: if no group has masks, or weights are not finite.

    Source: Li et al., "Pruning Filters for Efficient ConvNets" (2017), section 3.4
    (iterative); coupled channels as in Fang et al., "DepGraph" (2023).

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(6),
        ...     keras.layers.Dense(2)])
        >>> model = tfc.compress(model, {".*": "mask", ".*/bias": "mask"})
        >>> pruning = tfc.callbacks.ChannelPruning(0.5)
        >>> pruning.set_model(model)
        >>> pruning.update(step=1)
        >>> tfc.shrink(model).layers[1].units
        3
    """

    def __init__(
        self,
        schedule,
        criterion="l2",
        scope="local",
        round_to=1,
        data=None,
        ignore=(),
    ):
        super().__init__(schedule, criterion, "filter", scope, data)
        self.round_to = round_to
        self.ignore = ignore

    def set_model(self, model):
        """Finds the groups of channels that have masks."""
        super().set_model(model)
        flat, origins = flatten_with_origins(model)
        self._graph = ChannelGraph(flat)
        masks = {id(t.variable): (t, mask) for _, t, mask in self._masked}
        self._treated = {
            id(copied): masks[id(variable)]
            for copy in flat.layers
            for copied, variable in _counterparts(copy, origins.get(copy.name))
            if id(variable) in masks
        }
        self._groups = [
            group
            for group in free_groups(self._graph, self.ignore)
            if all(
                id(s.variable) in self._treated for s in makers(self._graph, [group])
            )
        ]
        if not self._groups:
            raise ValueError(
                f"ChannelPruning found no group of channels in {model.name!r} whose "
                "kernels all have a Mask. Add masks to kernels, biases and "
                "normalisation: tfc.compress(model, {'.*': 'mask', '.*/bias': 'mask', "
                "'.*/gamma': 'mask', '.*/beta': 'mask'})."
            )
        self._keep = np.ones(self._graph.num_units, bool)

    def prune(self, sparsity):
        """Masks the model now.

        Args:
            sparsity: fraction of the units to remove, in [0, 1).
        """
        select = Selection(
            self._graph, self._groups, self._unit_scores(), self.scope, self.round_to
        )
        self._keep = select(sparsity)
        shown = {}
        for slot in self._graph.trace.slots.values():
            if slot.role == "input" or id(slot.variable) not in self._treated:
                continue
            shape = [1] * len(slot.variable.shape)
            shape[slot.axis] = -1
            keep = self._keep[self._graph.units(slot.ids)].reshape(shape)
            shown[id(slot.variable)] = shown.get(id(slot.variable), True) & keep
        for key, keep in shown.items():
            treatment, mask = self._treated[key]
            mask.mask.assign(np.broadcast_to(keep, mask.mask.shape))
            treatment.refresh(after=mask)
        self.sparsity = self._masked_fraction()

    def _unit_scores(self):
        found = {
            id(slot.variable): self._treated[id(slot.variable)][0]
            for slot in makers(self._graph, self._groups)
        }
        signals = collect(self.model, found.values(), self.data, self.criterion.needs)
        return {
            key: self.criterion.score(t.variable.path, t.variable, gathered)
            for (key, t), gathered in zip(found.items(), signals, strict=True)
        }

    def _masked_fraction(self):
        units = np.concatenate([group.units for group in self._groups])
        return float(1 - self._keep[units].mean())


def _counterparts(copy, layer):
    """Pairs of variables of a layer and its copy, compressed or not."""
    if layer is None:
        return ()
    inside = [getattr(one, "inner", one).variables for one in (copy, layer)]
    return zip(*inside, strict=True)
