"""Huang's environment: the choice of which channels of one group stay."""

import math

import numpy as np

from tfcompress.pruning.channels.selection import makers, rows_of_units
from tfcompress.search.agents.channel_counts import channels_gone
from tfcompress.search.agents.gym import gymnasium

# `ψ` if what is left cannot be scored.
_WORST = -1.0


class FilterChoice(gymnasium.Env):
    """An episode is one step: zeros and ones for the channels of a group.

    The state is a matrix with a row for each channel: all weights that produce it, divided
    by the standard deviation of all rows. Of `N` channels `n` stay, at least as many as the
    space requires and a multiple of `round_to`; to get there, channels with larger weights
    stay too, or small ones are removed too.

        reward = ψ φ,    ψ = (b - (p* - p)) / b,    φ = log(N / n)

    with the score `p`, and the score `p*` of the whole model.

    Args:
        study: a `Study`.
        member: what is left of the other groups.
        group: the `ChannelGroup`.
        drop: `b`, the allowed drop of the score.
    """

    def __init__(self, study, member, group, drop):
        self._study, self._group, self._drop = study, group, drop
        self._others = {k: v for k, v in member["channels"].items() if k != group.name}
        self._rows = _weights_of_channels(study.proxy.graph, group)
        self.observation_space = gymnasium.spaces.Box(
            -np.inf, np.inf, self._rows.shape, np.float32
        )
        self.action_space = gymnasium.spaces.MultiBinary(group.size)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._rows.copy(), {}

    def step(self, action):
        action = np.array(action, float)
        norms = np.linalg.norm(self._rows, axis=1)
        order = action + norms / (2 * norms.max() or 1)
        gone = channels_gone(self._study, self._group, order, action.sum())
        member = self._member(gone)
        score = self._study.score(member)
        reward = self.reward(score, self._group.size - len(gone))
        return self._rows.copy(), reward, True, False, {"member": member}

    def reward(self, score, kept):
        """`ψ φ` for a score and the number of channels that stay."""
        part = 1 - (self._study.proxy.exact_score - score) / self._drop
        part = part if math.isfinite(part) else _WORST
        return part * math.log(self._group.size / kept)

    def _member(self, gone):
        return {"channels": {**self._others, self._group.name: gone}}


def _weights_of_channels(graph, group):
    arrays = [slot.variable.numpy() for slot in makers(graph, [group])]
    rows = rows_of_units(graph, group, arrays)
    return np.float32(rows / (rows.std() or 1))
