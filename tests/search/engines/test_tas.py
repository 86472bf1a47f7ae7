"""Probabilities of widths."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests.search import problems
from tfcompress.search.costs import costs_of
from tfcompress.search.engines.tas import cost_loss, expected_cost, two_widths
from tfcompress.search.knapsack import Cost
from tfcompress.search.soft_widths import SoftWidths

L = keras.layers
X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
HALVES = {"channels": [0.5]}


def three_layers():
    return problems.Scored(problems.three_layers(), HALVES, X, np.zeros(16, int))


class TestExpectedCost:
    def test_by_hand_on_three_layers(self):
        study = three_layers()
        rows = study.space.flat()
        (cost,) = costs_of(study.proxy, rows, {"macs": 1})
        p = {"a": [0.25, 0.75], "b": [0.5, 0.5]}
        found = expected_cost(cost, tf.constant([p[name] for _, name, _ in rows]))
        # 4 or 2 units, then 8 or 4.
        a, b = 0.25 * 4 + 0.75 * 2, 0.5 * 8 + 0.5 * 4
        assert float(found) == 3 * a + a * b + b * 2 == 34.5

    def test_of_one_member(self):
        study = three_layers()
        (cost,) = costs_of(study.proxy, study.space.flat(), {"macs": 1})
        for places in itertools.product(range(2), repeat=2):
            found = expected_cost(cost, tf.one_hot(places, 2))
            assert float(found) == study.proxy.macs(study.space.member(places))


class TestCostLoss:
    # p = 1/4, 3/4, so that 10 or 5 are 6.25 on average; 5 is the most probable.
    logits = tf.constant([[0.0, np.log(3.0)]], tf.float32)

    def loss(self, limit):
        cost = Cost(limit)
        cost.add((0,), [10.0, 5.0])
        return cost_loss(self.logits, cost, tolerance=0.05)

    @pytest.mark.parametrize(
        ("limit", "sign"), [(4.7, 1), (4.8, 0), (5.0, 0), (5.2, 0), (5.3, -1)]
    )
    def test_three_branches(self, limit, sign):
        assert float(self.loss(limit)) == pytest.approx(sign * np.log(6.25))

    def test_gradient(self):
        with tf.GradientTape() as tape:
            tape.watch(self.logits)
            loss = self.loss(4.0)
        # p_j (cost_j - E) / E
        expected = [[0.25 * 3.75 / 6.25, 0.75 * -1.25 / 6.25]]
        np.testing.assert_allclose(tape.gradient(loss, self.logits), expected, 1e-5)


def pair(p, q):
    """The probability that two given widths are drawn, in either order."""
    return p * q / (1 - p) + q * p / (1 - q)


class TestTwoWidths:
    logits = np.log([[0.5, 0.3, 0.2]]).astype("float32")

    def test_mixture_by_hand(self):
        noise = np.zeros((2, 1, 3), "float32")
        found = two_widths(self.logits, noise, 1.0)
        np.testing.assert_allclose(found, [[5 / 8, 3 / 8, 0]], 1e-5)
        found = two_widths(self.logits, noise, 0.5)
        np.testing.assert_allclose(found, [[25 / 34, 9 / 34, 0]], 1e-5)

    def test_first_noise_moves_what_is_mixed_and_the_second_what_is_drawn(self):
        noise = np.zeros((2, 1, 3), "float32")
        noise[0] = np.log([0.1, 1, 1])
        found = two_widths(self.logits, noise, 1.0)
        np.testing.assert_allclose(found, [[0, 3 / 5, 2 / 5]], 1e-5)
        noise[0], noise[1] = 0, [0, -5, 5]
        found = two_widths(self.logits, noise, 1.0)
        np.testing.assert_allclose(found, [[5 / 7, 0, 2 / 7]], 1e-5)

    def test_pairs_are_drawn_without_putting_back(self):
        count = 20_000
        noise = np.zeros((2, count, 3), "float32")
        noise[1] = np.random.default_rng(0).gumbel(size=(count, 3))
        found = two_widths(np.repeat(self.logits, count, 0), noise, 1.0).numpy()
        missing = np.mean(found == 0, axis=0)
        expected = [pair(0.3, 0.2), pair(0.5, 0.2), pair(0.5, 0.3)]
        # The standard error is 0.0035.
        np.testing.assert_allclose(missing, expected, atol=0.015)


class TestSoftWidths:
    def test_hand_computed_mixture(self):
        study = three_layers()
        rows = study.space.flat()
        network = SoftWidths(study.proxy, rows)
        kernels = [layer.kernel.numpy() for layer in study.proxy.layers.values()]
        biases = [layer.bias.numpy() for layer in study.proxy.layers.values()]
        weights = {"a": 0.75, "b": 0.25}
        mixtures = [[weights[name], 1 - weights[name]] for _, name, _ in rows]
        found = network.outputs(X, tf.constant(mixtures, tf.float32))

        def factors(name, kernel):
            norms = np.square(kernel).sum(axis=0)
            stays = norms >= np.sort(norms)[norms.size // 2]
            return np.where(stays, 1, weights[name])

        hidden = X
        for name, kernel, bias in zip("ab", kernels, biases, strict=False):
            hidden = factors(name, kernel) * np.maximum(hidden @ kernel + bias, 0)
        (output,) = found.values()
        np.testing.assert_allclose(output, hidden @ kernels[2] + biases[2], 1e-4)

    def test_batch_norms_by_the_batch(self):
        model = keras.Sequential(
            [
                keras.Input((3,)),
                L.Dense(2, name="a"),
                L.BatchNormalization(name="norm"),
                L.Dense(2, name="head"),
            ]
        )
        for weight, value in zip(
            model.get_layer("norm").weights,
            ([2, 3], [1, -1], [5, 5], [9, 9]),
            strict=True,
        ):
            weight.assign(value)
        model.get_layer("a").kernel.assign([[1, 9], [2, 9], [3, 9]])
        study = problems.Scored(model, HALVES, X, np.zeros(16, int))
        network = SoftWidths(study.proxy, study.space.flat())
        with network.normalized_by_batch():
            found = network.outputs(X, tf.constant([[0.75, 0.25]]))
        made = X @ model.get_layer("a").kernel.numpy()
        made[:, 0] *= 0.75
        made = (made - made.mean(axis=0)) / np.sqrt(made.var(axis=0) + 1e-3)
        made = [0.75, 1] * (made * [2, 3] + [1, -1])
        (output,) = found.values()
        expected = made @ model.get_layer("head").kernel.numpy()
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)
        assert study.proxy.graph.flat.get_layer(
            "norm"
        ).moving_mean.numpy().tolist() == [5, 5]

    def test_loss_of_classes_and_of_values(self):
        whole = tf.constant([[1.0, 0.0], [1.0, 0.0]])
        some = tf.constant([[0.5, 0.5], [1.0, 0.0]])
        for y, loss in (
            (np.zeros(16, int), tfc.distillation.losses.KL(4.0)),
            (np.ones((16, 2)) / 3, None),
        ):
            study = problems.Scored(problems.three_layers(), HALVES, X, y)
            network = SoftWidths(study.proxy, study.space.flat())
            ((inputs, exact),) = network.batches
            (teacher,) = exact.values()
            (student,) = network.outputs(inputs, some).values()
            spread = np.mean(np.square(teacher - teacher.numpy().mean(axis=0)))
            expected = (
                np.mean(loss(student, teacher))
                if loss
                else np.mean(np.square(student - teacher)) / spread
            )
            assert float(network.loss((inputs, exact), whole)) < 1e-6
            assert float(network.loss((inputs, exact), some)) == pytest.approx(
                float(expected), rel=1e-5
            )


class TestEngine:
    @pytest.fixture(scope="class")
    def study(self):
        return problems.study_with_noise()

    def test_finds_what_is_noise_and_uniform_does_not(self, study):
        limits = problems.limits_of(study, macs=0.6)
        found = tfc.search.engines.TAS(steps=200, learning_rate=0.05).propose(
            study, limits
        )
        uniform = tfc.search.engines.Uniform().propose(study, limits)
        assert found == problems.BEST
        assert study.score(found) == 1 > study.score(uniform)

    def test_same_seed_same_probabilities_and_the_model_stays(self, study):
        limits = problems.limits_of(study, macs=0.6)
        before = [weight.numpy() for weight in study.proxy.graph.flat.weights]
        engines = [
            tfc.search.engines.TAS(steps=5, weight_learning_rate=rate, seed=seed)
            for rate, seed in ((0.01, 1), (0.01, 1), (0.0, 1), (0.01, 2))
        ]
        for engine in engines:
            engine.propose(study, limits)
        found = [engine._logits.tolist() for engine in engines]
        assert found[0] == found[1]
        assert found[0] != found[2]
        assert found[0] != found[3]
        for weight, value in zip(study.proxy.graph.flat.weights, before, strict=True):
            np.testing.assert_array_equal(weight.numpy(), value)

    def test_near_limits_use_what_was_learned(self, study):
        engine = tfc.search.engines.TAS(steps=2)
        limits = problems.limits_of(study, macs=0.6)
        engine.propose(study, limits)
        learned = engine._logits
        near = {"macs": 0.97 * limits["macs"]}
        assert study.proxy.is_within(engine.propose(study, near), near)
        assert engine._logits is learned
        far = {"macs": 0.5 * limits["macs"]}
        assert study.proxy.is_within(engine.propose(study, far), far)
        assert engine._logits is not learned

    def test_bytes_are_limits_too(self, study):
        limits = problems.limits_of(study, kernel_bytes=0.4)
        found = tfc.search.engines.TAS(steps=5).propose(study, limits)
        assert study.proxy.is_within(found, limits)

    def test_none_if_nothing_is_within_the_limits(self, study):
        limits = problems.limits_of(study, macs=0.01)
        assert tfc.search.engines.TAS(steps=1).propose(study, limits) is None

    def test_other_dimensions_are_refused(self):
        study = problems.Scored(
            problems.three_layers(), {**HALVES, "bits": [4]}, X, np.zeros(16, int)
        )
        with pytest.raises(ValueError, match="TAS chooses channels: .* channels, bits"):
            tfc.search.engines.TAS().propose(study, {"macs": 1})
