import keras
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import tfcompress as tfc
from tests import models
from tests.search.engines import problems
from tfcompress.search.agents.channel_policy import ChannelPolicy
from tfcompress.search.engines import FilterAgent, Uniform

L = keras.layers


def choice(problem, name="signal", drop=0.1, gone=()):
    (group,) = [g for g in problem.proxy.groups if g.name == name]
    member = {"channels": {g.name: list(gone) for g in problem.proxy.groups}}
    return FilterAgent().environment(problem, member, group, drop)


class TestChoice:
    def test_is_an_environment(self):
        env = choice(problems.Problem(problems.half_noise()))
        check_env(env, skip_render_check=True)

    def test_the_reward_by_hand(self):
        # The whole model is always right.
        env = choice(problems.Problem(problems.half_noise()), drop=0.1)
        assert env.reward(0.95, 4) == pytest.approx(0.5 * np.log(2))
        assert env.reward(1.0, 1) == pytest.approx(np.log(8))
        assert env.reward(0.8, 2) == pytest.approx(-1.0 * np.log(4))
        assert env.reward(-np.inf, 2) == pytest.approx(-1.0 * np.log(4))
        assert env.reward(0.5, 8) == 0.0

    def test_the_reward_is_of_the_channels_that_stay(self):
        problem = problems.Problem(problems.half_noise())
        env = choice(problem, gone=[2])
        _, reward, terminated, _, info = env.step([0, 1, 1, 1, 1, 1, 1, 0])
        assert terminated
        assert info["member"] == {"channels": {"signal": [0, 7], "noise": [2]}}
        # The other group continues without the channels that it has lost.
        score = problem.proxy.score(info["member"])
        expected = (0.1 - (1.0 - score)) / 0.1 * np.log(8 / 6)
        assert reward == pytest.approx(expected)

    def test_it_sees_the_weights_that_make_each_channel(self):
        problem = problems.Problem(problems.half_noise())
        rows, _ = choice(problem).reset()
        kernel = problem.proxy.graph.flat.get_layer("signal").kernel.numpy()
        np.testing.assert_allclose(rows, kernel.T / kernel.std(), rtol=1e-5)

    def test_as_many_stay_as_the_space_asks_for_those_with_large_weights(self):
        problem = problems.Problem(problems.half_noise(), choices=(0, 0.75))
        env = choice(problem)
        order = np.argsort(-np.linalg.norm(env.reset()[0], axis=1))
        first = order[-1]
        action = np.arange(8) == first
        *_, info = env.step(action)
        gone = info["member"]["channels"]["signal"]
        assert set(range(8)) - set(gone) == {first, order[0]}

    def test_counts_are_multiples(self):
        problem = problems.Problem(problems.half_noise(), round_to=4)
        env = choice(problem)
        for wanted, stay in ((7, 8), (5, 4), (1, 4)):
            *_, info = env.step(np.arange(8) < wanted)
            assert problems.kept(problem, info["member"])["signal"] == stay


class TestPolicy:
    def test_draws_by_its_probabilities(self):
        policy = ChannelPolicy(np.eye(4, dtype="float32"), seed=0)
        np.testing.assert_array_equal(policy.probabilities(), 0.5)
        drawn = policy.sample(2000)
        assert set(np.unique(drawn)) == {0.0, 1.0}
        np.testing.assert_allclose(drawn.mean(axis=0), 0.5, atol=0.04)

    def test_better_actions_become_likelier_and_worse_ones_less(self):
        policy = ChannelPolicy(np.eye(4, dtype="float32"), seed=0)
        actions = np.float32([[1, 0, 1, 0], [0, 1, 1, 0]])
        for _ in range(20):
            policy.reinforce(actions, [1.0, -1.0])
        stay = policy.probabilities()
        assert stay[0] > 0.6 > 0.4 > stay[1]
        # What both have in common carries no information.
        assert stay[0] > stay[2]


class TestFilterAgent:
    def test_removes_the_group_that_is_noise(self):
        problem = problems.Problem(problems.half_noise())
        member = FilterAgent().propose(problem, {"macs": 96})
        left = problems.kept(problem, member)
        assert left["noise"] == 1
        # Its reward counts every channel that goes, so it may keep fewer than it could.
        assert left["signal"] > 4
        assert problem.proxy.macs(member) <= 96
        uniform = Uniform().propose(problem, {"macs": 96})
        assert problem.score(member) > problem.score(uniform) + 0.1

    def test_finds_channels_that_their_weights_hide(self):
        # Four of eight have the largest weights, and nothing reads them.
        model = keras.Sequential(
            [keras.Input((8,)), L.Dense(8, "relu", name="hidden"), L.Dense(4)]
        )
        made = np.random.default_rng(0).normal(size=(8, 8))
        model.layers[0].kernel.assign(made * np.repeat([3, 1], 4))
        model.layers[1].kernel.assign(np.eye(8)[:, 4:])
        # No two outputs are equal, which rounding would decide.
        model.layers[1].bias.assign([0.0, 0.01, 0.02, 0.03])
        problem = problems.Problem(model)
        member = FilterAgent(updates=20).propose(problem, {"macs": 48})
        assert member == {"channels": {"hidden": [0, 1, 2, 3]}}
        assert problem.score(member) == 1.0

    @pytest.mark.usefixtures("uncompiled")
    def test_limits_tighten_without_another_pass(self):
        problem = problems.Problem(problems.half_noise())
        engine = FilterAgent(passes=1, updates=2)
        loose = engine.propose(problem, {"macs": 96})
        num_scored = len(problem.scored)
        tight = engine.propose(problem, {"macs": 72})
        # At most the member of the new threshold.
        assert len(problem.scored) <= num_scored + 1
        assert problem.proxy.macs(loose) <= 96
        assert problem.proxy.macs(tight) <= 72

    def test_what_is_within_the_limits_stays_whole(self):
        problem = problems.Problem(problems.half_noise())
        member = FilterAgent().propose(problem, {"macs": 192})
        assert member == {"channels": {"signal": [], "noise": []}}

    @pytest.mark.usefixtures("uncompiled")
    def test_same_seed_same_members(self):
        found = []
        for seed in (0, 0, 1):
            problem = problems.Problem(problems.chain())
            engine = FilterAgent(passes=1, updates=2, seed=seed)
            engine.propose(problem, {"macs": 164})
            found.append(list(problem.scored.items()))
        assert found[0] == found[1] != found[2]

    def test_nothing_within_the_limits(self):
        problem = problems.Problem(problems.half_noise())
        assert FilterAgent().propose(problem, {"macs": 23}) is None

    @pytest.mark.usefixtures("uncompiled")
    def test_groups_of_one_name_stay_whole(self):
        problem = problems.Problem(models.recurrent(), samples=8)
        names = [group.name for group in problem.proxy.groups]
        assert names.count("attention") == 2
        limit = 0.9 * problem.proxy.macs({})
        engine = FilterAgent(passes=1, updates=1)
        member = engine.propose(problem, {"macs": limit})
        assert set(member["channels"]) == set(names) - {"attention"}
        assert problem.proxy.macs(member) <= limit

    def test_other_dimensions_are_refused(self):
        problem = problems.Problem(problems.half_noise())
        problem.space.choices["bits"] = {"signal": (8, 4)}
        with pytest.raises(ValueError, match=r"FilterAgent chooses channels"):
            FilterAgent().propose(problem, {"macs": 96})

    def test_the_file_has_what_the_member_says(self, tmp_path):
        model = problems.half_noise()
        x = np.random.default_rng(1).normal(size=(256, 8)).astype("float32")
        result = tfc.compress_to(
            model,
            {"macs": 0.5},
            (x, np.argmax(model(x), axis=1)),
            engine=FilterAgent(passes=1, updates=3),
            folder=tmp_path,
            verbose=0,
        )
        gone = result.best.member["channels"]
        assert result.best.macs == 96
        assert 12 * sum(map(len, gone.values())) == 96
        layers = [result.best.model.get_layer(name) for name in gone]
        before = [model.get_layer(name).kernel.numpy() for name in gone]
        for layer, kernel, places in zip(layers, before, gone.values(), strict=True):
            left = np.delete(kernel, places, axis=1)
            np.testing.assert_array_equal(layer.kernel.numpy(), left)
