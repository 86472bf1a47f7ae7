import keras
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tests import models
from tests.search.engines import problems
from tfcompress.search.agents.ddpg import DDPG
from tfcompress.search.engines import AMC, Uniform

L = keras.layers


def walk(problem, macs, lbound=0.2):
    return AMC(lbound=lbound).environment(problem, {"macs": macs})


class TestWalk:
    def test_is_an_environment(self):
        check_env(walk(problems.Problem(problems.chain()), 164), skip_render_check=True)

    def test_the_most_that_may_stay_is_counted_with_the_rest_at_its_smallest(self):
        # MACs are 8 f + f s + 4 s, and at least 3 of 16 and 2 of 10 stay.
        env = walk(problems.Problem(problems.chain()), 164)
        env.reset()
        # 8 f + 2 f + 8 <= 164
        assert env.most() == 15
        env.step([10 / 16])
        # 80 + 10 s + 4 s <= 164
        assert env.most() == 6
        *_, info = env.step([1.0])
        assert info["member"] == {"channels": {"first": 0.375, "second": 0.4}}

    def test_a_state_by_hand(self):
        # Alone, "first" can lose 328 - (24 + 30 + 40) and "second" 328 - (128 + 32 + 8).
        env = walk(problems.Problem(problems.chain()), 164)
        state, _ = env.reset()
        first = [0, 0, 0, 1, 0, 0, 0, 1]
        second = [1, 0, 1, 0, 0, 0, 1, 0]
        # At their smallest both have 24 + 6 + 8.
        np.testing.assert_allclose(state, [*first, 0, 290 / 328, 1], rtol=1e-6)
        state, reward, terminated, truncated, _ = env.step([10 / 16])
        assert (reward, terminated, truncated) == (0.0, False, False)
        # 80 + 100 + 40 are left, of which 80 + 20 + 8 stay.
        now = [108 / 328, 112 / 328, 10 / 16]
        np.testing.assert_allclose(state, [*second, *now], rtol=1e-6)
        state, _, terminated, truncated, _ = env.step([0.5])
        assert (terminated, truncated) == (True, False)
        # 80 + 50 + 20 of what was 328.
        np.testing.assert_allclose(state[8:], [178 / 328, 0, 0.5], rtol=1e-6)

    def test_a_state_of_convolutions(self):
        x = keras.Input((8, 8, 2))
        y = L.Conv2D(6, 3, strides=2, padding="same", name="conv")(x)
        y = L.Dense(5, name="dense")(L.GlobalAveragePooling2D()(y))
        model = keras.Model(x, L.Dense(4, name="head")(y))
        env = walk(problems.Problem(model), 1000)
        # By place, type, inputs, outputs, stride, window, weights and MACs.
        assert env.reset()[0][:8].tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
        assert env.step([0.5])[0][:8].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]

    def test_the_reward_is_the_score_at_the_end(self):
        problem = problems.Problem(problems.half_noise())
        env = walk(problem, 96)
        env.reset()
        assert env.step([0.625])[1] == 0.0
        _, reward, _, _, info = env.step([0.375])
        assert problems.kept(problem, info["member"]) == {"signal": 5, "noise": 3}
        assert reward == problem.proxy.score(info["member"])

    def test_limits_below_the_bound_are_met_as_far_as_the_space_goes(self):
        # With 2 of each, there are 4 * 12 MACs; the space leaves 1 of each.
        env = walk(problems.Problem(problems.half_noise()), 47)
        assert env.is_feasible
        env.reset()
        assert env.most() == 2
        assert not walk(problems.Problem(problems.half_noise()), 23).is_feasible

    def test_no_more_goes_than_the_largest_choice(self):
        problem = problems.Problem(problems.half_noise(), choices=(0, 0.3))
        env = walk(problem, 192)
        env.reset()
        env.step([0.2])
        *_, info = env.step([0.2])
        assert info["member"] == {"channels": {"signal": 0.25, "noise": 0.25}}

    def test_counts_are_multiples(self):
        problem = problems.Problem(problems.chain(), round_to=4)
        env = walk(problem, 164)
        env.reset()
        # 8 f + 4 f + 16 <= 164
        assert env.most() == 13
        env.step([1.0])
        *_, info = env.step([1.0])
        assert problems.kept(problem, info["member"])["first"] == 12
        assert problem.proxy.macs(info["member"]) == 12 * 8 + 12 * 4 + 4 * 4


class TestAgent:
    def test_finds_what_is_rewarded(self):
        # In a single step, the reward is highest at 0.7.
        agent, state = DDPG(2, 0.2, 200, seed=0), np.float32([0.5, 1.0])
        for episode in range(150):
            action = agent.guess() if episode < 50 else agent.act(state, 0.1)
            agent.remember([state, state], [action], 1 - (action - 0.7) ** 2)
            agent.train(4)
        assert agent.act(state, 1e-6) == pytest.approx(0.7, abs=0.1)

    def test_actions_are_in_their_range(self):
        agent = DDPG(2, 0.2, 200, seed=0)
        actions = [agent.act(np.zeros(2, np.float32), 5.0) for _ in range(100)]
        actions += [agent.guess() for _ in range(100)]
        assert 0.2 <= min(actions) < 0.3
        assert 0.9 < max(actions) <= 1.0


def best(problem, limit):
    """The highest score of all members with two channels or more of each group."""
    members = [
        {"channels": {"signal": 1 - a / 8, "noise": 1 - b / 8}}
        for a in range(2, 9)
        for b in range(2, 9)
    ]
    return max(problem.score(m) for m in members if problem.proxy.macs(m) <= limit)


class TestAMC:
    def test_finds_the_best_member_where_one_group_is_noise(self):
        problem = problems.Problem(problems.half_noise())
        member = AMC(episodes=40, warm_up=10).propose(problem, {"macs": 96})
        assert problem.proxy.macs(member) == 96
        stays = problems.kept(problem, member)
        assert stays["signal"] > stays["noise"]
        assert problem.score(member) == best(problem, 96)
        uniform = Uniform().propose(problem, {"macs": 96})
        assert problem.score(member) > problem.score(uniform) + 0.1

    def test_same_seed_same_members(self):
        found = []
        for seed in (0, 0, 1):
            problem = problems.Problem(problems.chain())
            AMC(episodes=6, warm_up=3, seed=seed).propose(problem, {"macs": 164})
            found.append(list(problem.scored.items()))
        assert found[0] == found[1] != found[2]

    def test_plays_on_when_limits_tighten_and_not_when_they_are_the_same(self):
        problem = problems.Problem(problems.half_noise())
        engine = AMC(episodes=8, warm_up=8)
        first = engine.propose(problem, {"macs": 96})
        assert engine.propose(problem, {"macs": 96}) == first
        second = engine.propose(problem, {"macs": 72})
        assert problem.proxy.macs(first) <= 96
        assert problem.proxy.macs(second) <= 72

    def test_nothing_within_the_limits(self):
        problem = problems.Problem(problems.half_noise())
        assert AMC().propose(problem, {"macs": 23}) is None

    def test_bytes_are_limits_too(self):
        problem = problems.Problem(problems.half_noise())
        limits = {"kernel_bytes": 0.6 * problem.proxy.size_bytes({})}
        member = AMC(episodes=4, warm_up=2).propose(problem, limits)
        assert problem.proxy.is_within(member, limits)

    def test_channels_of_attention_and_recurrent_layers(self):
        problem = problems.Problem(models.recurrent(), samples=8)
        limit = 0.7 * problem.proxy.macs({})
        member = AMC(episodes=2, warm_up=1).propose(problem, {"macs": limit})
        assert set(member["channels"]) == set(problem.space.choices["channels"])
        assert problem.proxy.macs(member) <= limit

    def test_other_dimensions_are_refused(self):
        problem = problems.Problem(problems.half_noise())
        problem.space.choices["bits"] = {"signal": (8, 4)}
        with pytest.raises(
            ValueError, match=r"AMC chooses channels: .* channels, bits"
        ):
            AMC().propose(problem, {"macs": 96})
