"""An agent that goes through a model and says what share of its channels stays."""

import math

from tfcompress.core.kinds import Integer, Number
from tfcompress.core.nouns import SearchEngine
from tfcompress.search.agents.ddpg import DDPG

_SPREAD, _DECAY = 0.5, 0.95
# Steps of so many episodes are remembered.
_REMEMBERED = 100
# There are few episodes: batches that the agent trains on for each step of one.
_BATCHES = 4
# Part of the episodes that are played anew when limits tighten.
_AGAIN = 1 / 4


class AMC(SearchEngine):
    """Plays episodes with an actor and a critic, and takes the best member of them all.

    An episode goes from one group of channels to the next. The actor sees what the group
    is, how many MACs are gone and how many can still go, and says the share `a` that stays:

        a_t <= max {a: cost(a_1 … a_{t-1}, a, lbound …) <= limits},    R = score(member)

    so that each member is within the limits. `R`, with the statistics of batch
    normalisation moved along, is the reward of each step. The first episodes are drawn;
    then, in the `k`-th of the others, actions have truncated normal noise of
    `0.5 · 0.95^k`. When limits tighten, the agent goes on for a quarter of the episodes.

    It differs from the paper in what couples layers: steps are groups of channels that go
    together, whatever kind of layer makes them, and MACs left are those that groups to
    come can take away. The state has the type of the layer and its weights in the place
    of the height and width of images. Nothing is refitted before a member is scored.
    Episodes are fewer, and the agent trains on four batches for each step, not one.

    Args:
        episodes: how many members are scored.
        warm_up: how many of these are drawn.
        lbound: share of a group that stays at least, where the limits can be met so.
        seed: of all that is drawn.

    Raises:
        ImportError: when it runs, if Gymnasium is not installed.
        ValueError: when it runs, if the space has more than channels.

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
        """The `gymnasium.Env` that is played in.

        Args:
            study: a `Study`.
            limits: as of `propose`.
        """
        from tfcompress.search.agents.channel_walk import ChannelWalk

        return ChannelWalk(study, limits, self.lbound)

    def propose(self, study, limits):
        """The best member of all episodes within the limits."""
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
