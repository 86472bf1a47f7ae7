"""AMC's environment: a walk from one group of channels to the next."""

import bisect

import numpy as np

from tfcompress.pruning.channels.selection import makers, rows_of_units
from tfcompress.search.agents.channel_counts import (
    channel_groups,
    least_kept,
    ratio_of,
)
from tfcompress.search.agents.gym import gymnasium


class ChannelWalk(gymnasium.Env):
    """An episode chooses, for one group of channels after another, the fraction that stays.

    An action is at most the fraction at which the limits are met with all later groups at
    their smallest. It is found by counting that whole member, since a layer's cost also
    depends on the channels that it reads. A state has eleven numbers from 0 to 1:

    - about the group, scaled by the minimum and maximum over all groups: its position, the
      type of the first layer that produces it, that layer's inputs, outputs, stride and
      kernel size, the weights that produce the group, and the MACs that can be removed
      with it alone;
    - about the model's MACs: those removed so far, and those that later groups can remove;
    - the fraction of the previous group that stays.

    The reward is the score of the member, at the end.

    Args:
        study: a `Study`.
        limits: limits as in `SearchEngine.propose`.
        lbound: smallest fraction of a group that stays, if the limits can be met with it;
            otherwise, and at most, what the space allows.

    Attributes:
        groups: the groups, in the order of the walk.
        is_feasible: whether the limits can be met.
    """

    def __init__(self, study, limits, lbound):
        self._study, self._limits = study, limits
        self.groups = channel_groups(study, "AMC")
        self._floors = self._smallest(1 - lbound)
        if not self._is_within(self._floors):
            self._floors = self._smallest()
        self.is_feasible = self._is_within(self._floors)
        self._whole = [group.size for group in self.groups]
        self._total = self._macs(self._whole)
        self._table = _normalised([self._row(n) for n in range(len(self.groups))])
        self._kept = []
        self.observation_space = gymnasium.spaces.Box(0, 1, (11,), np.float32)
        self.action_space = gymnasium.spaces.Box(lbound, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._kept = []
        return self._state(), {}

    def step(self, action):
        place = len(self._kept)
        group = self.groups[place]
        wanted = self._study.proxy.num_kept(group, 1 - float(action[0]))
        wanted = min(max(wanted, self._floors[place]), self.most())
        self._kept.append(least_kept(self._study, group, 1 - wanted / group.size))
        if place + 1 < len(self.groups):
            return self._state(), 0.0, False, False, {}
        member = self._member(self._kept)
        return self._state(), self._study.score(member), True, False, {"member": member}

    def most(self):
        """How many channels of the next group may stay."""
        place, floors = len(self._kept), self._floors

        def is_above(kept):
            return not self._is_within([*self._kept, kept, *floors[place + 1 :]])

        counts = range(floors[place], self.groups[place].size + 1)
        return counts[bisect.bisect_left(counts, True, key=is_above) - 1]

    def _smallest(self, ratio=1.0):
        return [least_kept(self._study, group, ratio) for group in self.groups]

    def _member(self, counts):
        pairs = zip(self.groups, counts, strict=True)
        return {"channels": {g.name: ratio_of(self._study, g, n) for g, n in pairs}}

    def _is_within(self, counts):
        return self._study.proxy.is_within(self._member(counts), self._limits)

    def _macs(self, counts):
        return self._study.proxy.macs(self._member(counts))

    def _row(self, place):
        """The constant features of a group."""
        graph, group = self._study.proxy.graph, self.groups[place]
        slots = makers(graph, [group])
        arrays = [slot.variable.numpy() for slot in slots]
        kernel, layer = arrays[0], graph.flat.get_layer(slots[0].layer)
        outputs, window = (
            kernel.shape[slots[0].axis],
            getattr(layer, "kernel_size", (1,)),
        )
        alone = [*self._whole]
        alone[place] = self._floors[place]
        return [
            place,
            type(layer).__name__,
            kernel.size / outputs / np.prod(window),
            outputs,
            getattr(layer, "strides", (1,))[0],
            window[0],
            rows_of_units(graph, group, arrays).size,
            self._total - self._macs(alone),
        ]

    def _state(self):
        place = min(len(self._kept), len(self.groups) - 1)
        rest = len(self._kept)
        now = self._macs([*self._kept, *self._whole[rest:]])
        left = now - self._macs([*self._kept, *self._floors[rest:]])
        last = self._kept[-1] / self.groups[rest - 1].size if rest else 1.0
        moving = [(self._total - now) / self._total, left / self._total, last]
        return np.float32([*self._table[place], *moving])


def _normalised(rows):
    """Columns scaled to [0, 1], zeros where all values are equal; words are numbered."""
    columns = [
        np.unique(column, return_inverse=True)[1]
        if isinstance(column[0], str)
        else column
        for column in zip(*rows, strict=True)
    ]
    table = np.array(columns, float).T
    span = np.ptp(table, axis=0)
    return (table - table.min(axis=0)) / np.where(span, span, 1)
