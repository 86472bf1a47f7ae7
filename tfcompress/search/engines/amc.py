"""An agent that walks through a model and chooses the fraction of channels to keep."""

import math

from tfcompress.core.kinds import Integer, Number
from tfcompress.core.nouns import SearchEngine
from tfcompress.search.agents.ddpg import DDPG

_SPREAD, _DECAY = 0.5, 0.95
# Number of episodes whose steps are remembered.
_REMEMBERED = 100
# Batches that the agent trains on per step of an episode, since there are few episodes.
_BATCHES = 4
# Fraction of the episodes that are played again when limits tighten.
_AGAIN = 1 / 4


class AMC(SearchEngine):
    """Plays episodes with an actor and a critic, and proposes the best member found.

    An episode walks from one group of channels to the next. The actor sees the features of
    the group, how many MACs have been removed and how many still can be, and chooses the
    fraction `a` that stays:

        a_t <= max {a: cost(a_1 … a_{t-1}, a, lbound …) <= limits},    R = score(member)

    so that each member is within the limits. `R`, computed with updated statistics of batch
    normalisation, is the reward of each step. The first episodes are random; in the `k`-th
    of the others, actions have truncated normal noise with a standard deviation of
    `0.5 · 0.95^k`. When limits tighten, the agent continues for a quarter of the episodes.

    It differs from the paper where layers are coupled: steps are groups of channels that
    are cut together, whatever kind of layer produces them, and the MACs left are those that
    later groups can remove. The state has the type of the layer and its weights instead of
    the height and width of images. Nothing is refitted before a member is scored. There are
    fewer episodes, and the agent trains on four batches per step instead of one.

    Args:
        episodes: number of members that are scored.
        warm_up: how many of these are random.
        lbound: smallest fraction of a group that stays, if the limits can be met with it.
        seed: seed of all random choices.

    Raises:
        ImportError: when it runs, if Gymnasium is not installed.
        ValueError: when it runs, if the space has dimensions other than channels.

    Source: He et al., "AMC: AutoML for Model Compression and Acceleration on Mobile
    Devices" (2018); DDPG: Lillicrap et al. (2016).

    Example:
        >>> tfc.search.engines.AMC(episodes=60, warm_up=15)
        AMC(episodes=60, warm_up=15)
    """

    def __init__(
        self,
        episodes: Integer(1) = 200,
        warm_up: Integer(0) = 50,
        lbound: Number(0, below=1) = 0.2,
        seed: Integer(0) = 0,
    ):
        self.episodes, self.warm_up, self.lbound = episodes, warm_up, lbound
        self.seed = seed
        self._study = None

    def environment(self, study, limits):
        """The `gymnasium.Env` of an episode.

        Args:
            study: a `Study`.
            limits: limits as in `propose`.
        """
        from tfcompress.search.agents.channel_walk import ChannelWalk

        return ChannelWalk(study, limits, self.lbound)

    def propose(self, study, limits):
        """The best member within the limits of all episodes."""
        walk = self.environment(study, limits)
        if not walk.is_feasible:
            return None
        if study is not self._study:
            self._begin(study, walk)
        if limits not in self._played:
            again = math.ceil(_AGAIN * self.episodes)
            self._play(walk, again if self._played else self.episodes)
            self._played.append(limits)
        found = [m for m in self._found if study.proxy.is_within(m, limits)]
        return max(found, key=study.score)

    def _begin(self, study, walk):
        self._study, self._played, self._found = study, [], []
        self._agent = DDPG(
            walk.observation_space.shape[0],
            self.lbound,
            _REMEMBERED * len(walk.groups),
            self.seed,
        )

    def _play(self, walk, episodes):
        bar = self._study.progress(episodes, "episode")
        for _ in range(episodes):
            late = len(self._found) - self.warm_up
            states, actions, reward = self._episode(walk, late)
            if math.isfinite(reward):
                self._agent.remember(states, actions, reward)
            if late >= 0:
                self._agent.train(_BATCHES * len(actions))
            bar.add(1, [("score", reward)])

    def _episode(self, walk, late):
        (state, info), actions, is_over = walk.reset(), [], False
        states = [state]
        while not is_over:
            action = (
                self._agent.guess()
                if late < 0
                else self._agent.act(state, _SPREAD * _DECAY**late)
            )
            state, reward, is_over, _, info = walk.step([action])
            states.append(state)
            actions.append(action)
        self._found.append(info["member"])
        return states, actions, reward
