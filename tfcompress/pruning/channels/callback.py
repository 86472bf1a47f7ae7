"""Masks whole channels while a model trains."""

import numpy as np

from tfcompress.core.data import Batches
from tfcompress.core.kinds import Integer, OneOf, PlugIn, checked
from tfcompress.core.nouns import Criterion, Scope
from tfcompress.core.rules import PATTERNS
from tfcompress.pruning.callback import SCHEDULES, Pruning
from tfcompress.pruning.channels.masks import graph_of_masks, unit_masks, units_left
from tfcompress.pruning.channels.selection import (
    Selection,
    free_groups,
    makers,
    whole_tiles,
)
from tfcompress.pruning.prune import by_rule


class ChannelPruning(Pruning):
    """Masks channels together with everything they are coupled to, step by step.

    Like `Pruning`, but with the units of `tfc.channel_groups`: a pruned unit is masked
    in every kernel that produces it and, if these have masks too, in biases and
    normalization, so that it is exactly zero and `tfc.shrink` can remove it after
    training. A group is pruned if all kernels that produce it have a `Mask`.

    Args:
        schedule: a `tfc.schedules` object, or a number for a constant sparsity; the
            fraction of units to remove. Or `{pattern: schedule}`: a pattern covers the
            groups of channels produced by the layers that it matches.
        criterion: a `tfc.criteria` object or name; a unit's score is the mean (or the
            criterion's `reduce`) over all weights that produce it.
        scope: a `tfc.scopes` object or name.
        round_to: groups keep a multiple of this many channels; `"auto"` as in
            `tfc.prune_channels`.
        data: batches over which criteria that need signals collect them.
        ignore: patterns of layers whose outputs are not pruned.

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

    @checked
    def __init__(
        self,
        schedule: SCHEDULES,
        criterion: PlugIn(Criterion) = "l2",
        scope: PlugIn(Scope) = "local",
        round_to: Integer(1) | OneOf("auto") = 1,
        data: Batches() = None,
        ignore: PATTERNS = (),
    ):
        super().__init__(schedule, criterion, "filter", scope, data)
        self.round_to = whole_tiles(round_to)
        self.ignore = ignore

    def _find_parts(self):
        """The groups of channels that have masks, and `[(schedule, groups)]`."""
        self._graph, self._weights = graph_of_masks(self.model, self._masked)
        groups = [
            group
            for group in free_groups(self._graph, self.ignore)
            if all(key in self._weights for key in self._makers([group]))
        ]
        if not groups:
            raise ValueError(
                f"ChannelPruning found no group of channels in {self.model.name!r} whose "
                "kernels all have a Mask. Add masks to kernels, biases and "
                "normalization: tfc.compress(model, {'.*': 'mask', '.*/bias': 'mask', "
                "'.*/gamma': 'mask', '.*/beta': 'mask'})."
            )
        masks = {key: weight.kept() for key, weight in self._weights.items()}
        self._keep = units_left(self._graph, groups, masks)
        return groups, self._by_rule(groups)

    def _by_rule(self, groups):
        """`[(schedule, groups)]`: a rule covers groups that one of its kernels produces."""
        if not isinstance(self.schedule, dict):
            return [(self.schedule, groups)]
        weights = self._weights_of(groups)
        parts, taken = [], set()
        # Later rules win.
        for schedule, covered in reversed(by_rule(self.schedule, weights)):
            paths = {weight.path for weight in covered}
            members = [
                group
                for group in groups
                if group not in taken
                and any(w.path in paths for w in self._weights_of([group]))
            ]
            taken.update(members)
            parts.append((schedule, members))
        return [part for part in parts if part[1]]

    def _prune(self, parts):
        """Masks groups, each part to its own sparsity."""
        groups = [group for _, part in parts for group in part]
        weights = self._weights_of(groups)
        for weight in weights:
            weight.treatment.settle()
        measure = self.engine.measurement(self.model, weights, self.data)
        keep = self._keep.copy()
        for sparsity, part in parts:
            select = Selection(
                self._graph, part, self._weights, self.engine, measure, self.round_to
            )
            chosen = select(sparsity)
            for group in part:
                keep[group.units] = chosen[group.units]
        changes = []
        for key, mask in unit_masks(self._graph, keep).items():
            weight = self._weights.get(key)
            if weight is None:
                continue
            mask = np.broadcast_to(mask, weight.layout.shape)
            mask = weight.layout.to_canonical(mask)
            value = self.engine.adjusted(weight, mask, measure().get(weight.path))
            changes.append((weight, mask, value))
        # Only now, so that nothing has changed if something fails.
        self._keep = keep
        for change in changes:
            self.engine.assign(*change, self.model)
        self.sparsity = self._masked_fraction()

    def _makers(self, groups):
        """Keys of the kernels that produce the channels of groups, each once, in order."""
        return list(
            dict.fromkeys(id(slot.variable) for slot in makers(self._graph, groups))
        )

    def _weights_of(self, members):
        return [self._weights[key] for key in self._makers(members)]

    def _fraction(self, members):
        units = np.concatenate([group.units for group in members])
        return float(1 - self._keep[units].mean())

    def _tolerance(self, members):
        # Groups keep at least one channel, and a multiple of `round_to`.
        sizes = [group.size for group in members]
        return self.round_to * len(sizes) / sum(sizes)
