"""Agents that see the weights of a group of channels and decide which of them stay."""

import bisect

import numpy as np

from tfcompress.core.kinds import Integer, Number
from tfcompress.core.nouns import SearchEngine
from tfcompress.search.agents.channel_counts import channel_groups, channels_gone
from tfcompress.search.agents.channel_policy import ChannelPolicy

# The smallest probability at which a channel stays in the greedy action.
_EVEN = 0.5


class FilterAgent(SearchEngine):
    """Trains one policy per group of channels, one after another, to prune the group.

    A policy sees the weights that produce a group's `N` channels and samples which `n` of
    them stay. It learns from

        R(A) = ψ φ,    ψ = (b - (p* - p)) / b,    φ = log(N / n)

    with the scores `p*` of the whole model and `p` of the pruned one, by REINFORCE with
    five samples per step. The baseline is the reward of the greedy action, in which
    channels with a probability of a half or more stay. Meanwhile, the other policies use
    their greedy actions.

    Limits are met by adjusting `b`: after each pass over the groups, it is halved if the
    greedy actions are within the limits, and doubled otherwise, and training continues. In
    the end, one threshold for all probabilities replaces a half: the lowest one that is
    within the limits, as counted by `study.proxy`. So channels are restored, or more of
    them removed, in the order of the policies' uncertainty. If a member within the limits
    that was sampled on the way scores higher, it is proposed instead. When limits tighten,
    only the threshold changes.

    Members hold lists of the channels to remove instead of ratios. Groups that share the
    name of a layer cannot be distinguished that way, and stay whole.

    It differs from the paper as follows: nothing is trained between groups, so losses add
    up and `b` starts high; each group has several turns; a small network sees the weights
    instead of a convolutional one, and starts from their norms; the limits are added.

    Args:
        drop: `b` of the first pass, in units of the score.
        passes: number of turns of each group.
        updates: training steps of each policy per pass.
        samples: actions that are sampled per step.
        seed: seed of all random choices.

    Raises:
        ImportError: when it runs, if Gymnasium is not installed.
        ValueError: when it runs, if the space has dimensions other than channels.

    Source: Huang et al., "Learning to Prune Filters in Convolutional Neural Networks"
    (2018); the baseline: Rennie et al., "Self-critical Sequence Training" (2017).

    Example:
        >>> tfc.search.engines.FilterAgent(drop=0.25, updates=20)
        FilterAgent(drop=0.25, updates=20)
    """

    def __init__(
        self,
        drop: Number(above=0) = 0.5,
        passes: Integer(1) = 3,
        updates: Integer(1) = 10,
        samples: Integer(1) = 5,
        seed: Integer(0) = 0,
    ):
        self.drop, self.passes, self.updates = drop, passes, updates
        self.samples, self.seed = samples, seed
        self._study = None

    def environment(self, study, member, group, drop):
        """The `gymnasium.Env` of one group.

        Args:
            study: a `Study`.
            member: what is left of the other groups.
            group: the `ChannelGroup`.
            drop: `b`.
        """
        from tfcompress.search.agents.filter_choice import FilterChoice

        return FilterChoice(study, member, group, drop)

    def propose(self, study, limits):
        """The best member within the limits, of all samples and of the lowest threshold."""
        if study is not self._study:
            self._begin(study)

        def is_within(threshold):
            return study.proxy.is_within(self._member(threshold), limits)

        if not is_within(np.inf):
            return None
        if is_within(0.0):
            return self._member(0.0)
        while self._num_passes < self.passes:
            self._pass()
            self._drop *= 0.5 if is_within(_EVEN) else 2
        thresholds = np.unique([0.0, np.inf, *np.concatenate(self._stay)])
        place = bisect.bisect(thresholds, False, key=is_within)
        found = [m for m in self._found if study.proxy.is_within(m, limits)]
        return max([self._member(thresholds[place]), *found], key=study.score)

    def _begin(self, study):
        self._study, self._num_passes, self._drop = study, 0, self.drop
        names = [group.name for group in study.proxy.groups]
        self._found = []
        self._groups = [
            group
            for group in channel_groups(study, "FilterAgent")
            if names.count(group.name) == 1
        ]
        self._policies = [None for _ in self._groups]
        self._stay = [np.ones(group.size) for group in self._groups]

    def _member(self, threshold):
        """The member in which channels with at least a given probability stay."""
        gone = {
            group.name: channels_gone(
                self._study, group, stay, np.sum(stay >= threshold)
            )
            for group, stay in zip(self._groups, self._stay, strict=True)
        }
        return {"channels": gone}

    def _pass(self):
        """Trains each policy while the others use their greedy actions."""
        bar = self._study.progress(len(self._groups), "group")
        for place, group in enumerate(self._groups):
            member = self._member(_EVEN)
            self._turn(place, self.environment(self._study, member, group, self._drop))
            bar.add(1)
        self._num_passes += 1

    def _turn(self, place, choice):
        rows, _ = choice.reset()
        if self._policies[place] is None:
            seed = self.seed + 1000 * place
            self._policies[place] = ChannelPolicy(rows, seed)
        policy = self._policies[place]
        for _ in range(self.updates):
            actions = policy.sample(self.samples)
            expected = self._reward(choice, policy.probabilities() >= _EVEN)
            rewards = [self._reward(choice, action) for action in actions]
            policy.reinforce(actions, np.array(rewards) - expected)
        self._stay[place] = policy.probabilities()

    def _reward(self, choice, action):
        choice.reset()
        _, reward, _, _, info = choice.step(action)
        self._found.append(info["member"])
        return reward
