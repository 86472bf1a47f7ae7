"""Values and gradients by hand, and in closed form."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.callbacks import Annealing
from tfcompress.core.agreement import copy_model
from tfcompress.core.compressed import treatments
from tfcompress.transforms import (
    PDP,
    ContinuousSparsification,
    EdgePopup,
    Mask,
    Movement,
    Powerpropagation,
    SoftMovement,
    SoftThreshold,
    Supermask,
)

EIGHT = np.reshape([0.5, -4.0, 2.0, 0.25, -1.0, 3.0, -0.125, 1.5], (8, 1))
UPSTREAM = np.reshape([1.0, 2.0, -1.0, 4.0, 3.0, -2.0, 8.0, 1.0], (8, 1))


def treated(*transforms, kernel=EIGHT):
    treatment = models.dense_treatment(kernel, *transforms)
    return treatment, treatment.transforms[0]


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, "float64")))


def advance(treatment, progress):
    for transform in treatment.transforms:
        if hasattr(transform, "advance"):
            transform.advance(progress, lambda t=transform: treatment.bake(upto=t))


class TestPowerpropagation:
    @pytest.mark.parametrize("alpha", [1, 1.5, 2, 4])
    def test_starts_as_the_weight_and_has_the_gradient_of_its_formula(self, alpha):
        treatment, _ = treated(Powerpropagation(alpha))
        np.testing.assert_allclose(treatment(), EIGHT, rtol=1e-5)
        theta = np.sign(EIGHT) * np.abs(EIGHT) ** (1 / alpha)
        np.testing.assert_allclose(treatment.variable, theta, rtol=1e-5)
        slope = alpha * np.abs(theta) ** (alpha - 1)
        gradient = models.gradients(treatment, UPSTREAM.astype("float32"))
        np.testing.assert_allclose(gradient, UPSTREAM * slope, rtol=1e-5)

    def test_zeros_stay_and_have_no_nan(self):
        treatment, _ = treated(Powerpropagation(1.5), kernel=[[0.0], [1.0]])
        np.testing.assert_array_equal(treatment(), [[0.0], [1.0]])
        gradient = models.gradients(treatment, np.ones((2, 1), "float32"))
        np.testing.assert_allclose(gradient, [[0.0], [1.5]])

    def test_pruning_scores_the_effective_weight(self):
        model = tfc.compress(models.small(), {".*": [Powerpropagation(2), Mask()]})
        before = models.small()
        models.set_weights(before, [np.asarray(v) for v in tfc.strip(model).weights])
        pruned = tfc.strip(tfc.prune(model, 0.5, scope="global"))
        expected = tfc.prune(before, 0.5, scope="global")
        for a, b in zip(pruned.weights, expected.weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)

    def test_a_copy_and_a_file_do_not_take_the_root_twice(self, tmp_path):
        model = tfc.compress(models.small(), {".*": Powerpropagation(3)})
        x = models.inputs(model)
        copy = copy_model(model)
        assert models.difference(model, copy, x) == 0
        model.save(tmp_path / "model.keras")
        restored = keras.models.load_model(tmp_path / "model.keras")
        assert models.difference(model, restored, x) == 0


class TestContinuousSparsification:
    LOGITS = np.reshape([0.1, -0.2, 0.3, -0.4, 0.0, 0.5, 0.01, -0.01], (8, 1))

    def test_nothing_changes_at_first(self):
        treatment, _ = treated(ContinuousSparsification(-0.3))
        np.testing.assert_allclose(treatment(), EIGHT, rtol=1e-6)

    def test_soft_mask_gradients_and_penalty(self):
        treatment, mask = treated(ContinuousSparsification(-0.3, 0.5, rate=2.0))
        mask.soft_mask.assign((self.LOGITS + 0.3) / 2)
        advance(treatment, 0.25)
        beta = 200**0.25
        soft = sigmoid(beta * self.LOGITS)
        np.testing.assert_allclose(treatment(), EIGHT * soft / sigmoid(-0.3), rtol=1e-5)
        np.testing.assert_allclose(mask.penalty(), 0.5 * soft.sum(), rtol=1e-5)
        latent, logits = models.gradients(
            treatment, UPSTREAM.astype("float32"), mask.soft_mask
        )
        scaled = UPSTREAM / sigmoid(-0.3)
        np.testing.assert_allclose(latent, scaled * soft, rtol=1e-5)
        slope = 2 * beta * soft * (1 - soft)
        np.testing.assert_allclose(logits, scaled * EIGHT * slope, rtol=1e-4)

    def test_at_the_end_the_mask_is_a_step(self):
        treatment, mask = treated(ContinuousSparsification())
        mask.soft_mask.assign(self.LOGITS)
        advance(treatment, 1.0)
        expected = 2 * np.ravel([0.5, 0.0, 2.0, 0.0, 0.0, 3.0, -0.125, 0.0])
        for value in (treatment(), treatment(training=True), treatment.bake()):
            np.testing.assert_allclose(np.ravel(value), expected)
        latent, logits = models.gradients(
            treatment, np.ones((8, 1), "float32"), mask.soft_mask
        )
        np.testing.assert_array_equal(np.ravel(latent), 2.0 * (expected != 0))
        np.testing.assert_array_equal(logits, np.zeros((8, 1)))

    def test_next_round(self):
        treatment, mask = treated(ContinuousSparsification(0.05, rate=3.0))
        mask.soft_mask.assign((self.LOGITS - 0.05) / 3)
        advance(treatment, 1.0)
        mask.next_round()
        logits = 0.05 + 3 * mask.soft_mask.numpy()
        expected = [0.05, -40.0, 0.05, -80.0, 0.0, 0.05, 0.05, -2.0]
        np.testing.assert_allclose(np.ravel(logits), expected, rtol=1e-4, atol=1e-5)
        assert mask.progress.numpy() == 0

    def test_optimizers_can_spare_it_weight_decay(self):
        model = tfc.compress(models.small(), {".*": ContinuousSparsification()})
        optimizer = keras.optimizers.AdamW(0.0, weight_decay=0.5)
        optimizer.exclude_from_weight_decay(var_names=["soft_mask"])
        model.compile(optimizer, "mse", run_eagerly=True)
        mask = treatments(model)[0][1].transforms[0]
        mask.soft_mask.assign(np.ones((8, 6)))
        model.fit(models.inputs(model), np.ones((4, 5)), verbose=0)
        np.testing.assert_array_equal(mask.soft_mask, np.ones((8, 6)))


class TestSoftThreshold:
    def test_by_hand(self):
        treatment, threshold = treated(SoftThreshold(penalty_weight=0.5))
        threshold.logit.assign([[0.0]])
        expected = [0.0, -3.5, 1.5, 0.0, -0.5, 2.5, 0.0, 1.0]
        np.testing.assert_allclose(np.ravel(treatment()), expected)
        assert not np.signbit(np.ravel(treatment.bake())[6])
        latent, logit = models.gradients(
            treatment, UPSTREAM.astype("float32"), threshold.logit
        )
        np.testing.assert_allclose(np.ravel(latent), [0, 2, -1, 0, 3, -2, 0, 1])
        # -1/4 (-2 - 1 - 3 - 2 + 1)
        np.testing.assert_allclose(logit, [[1.75]])
        threshold.logit.assign([[3.0]])
        np.testing.assert_allclose(threshold.penalty(), 0.25 * 9)

    def test_a_threshold_for_each_channel(self):
        kernel = np.random.default_rng(0).normal(size=(9, 3))
        treatment, threshold = treated(SoftThreshold(per_channel=True), kernel=kernel)
        logits = np.array([[-3.0, -1.0, 0.5]])
        threshold.logit.assign(logits)
        limit = sigmoid(logits)
        expected = np.sign(kernel) * np.maximum(np.abs(kernel) - limit, 0)
        np.testing.assert_allclose(treatment(), expected, atol=1e-6)
        _, logit = models.gradients(
            treatment, np.ones((9, 3), "float32"), threshold.logit
        )
        total = np.where(np.abs(kernel) > limit, np.sign(kernel), 0).sum(
            axis=0, keepdims=True
        )
        np.testing.assert_allclose(logit, -limit * (1 - limit) * total, rtol=1e-4)

    def test_starts_below_zero_only(self):
        with pytest.raises(ValueError, match="at most 0|below|in"):
            SoftThreshold(initial=1.0)


class TestPDP:
    def test_soft_mask_and_gradient(self):
        treatment, pdp = treated(PDP(0.75, temperature=2.0))
        advance(treatment, 1 / 3)
        # Three of eight are removed: the threshold is halfway between 0.5 and 1.
        assert pdp.threshold.numpy() == 0.75
        soft = sigmoid((EIGHT**2 - 0.75**2) / 2.0)
        np.testing.assert_allclose(treatment(), EIGHT * soft, rtol=1e-5)
        gradient = models.gradients(treatment, UPSTREAM.astype("float32"))
        slope = soft + 2 * EIGHT**2 * soft * (1 - soft) / 2.0
        np.testing.assert_allclose(gradient, UPSTREAM * slope, rtol=1e-4)

    @pytest.mark.parametrize(
        ("sparsity", "expected"),
        [
            (0.0, [0.5, -4.0, 2.0, 0.25, -1.0, 3.0, -0.125, 1.5]),
            (0.25, [0.5, -4.0, 2.0, 0.0, -1.0, 3.0, 0.0, 1.5]),
            (0.5, [0.0, -4.0, 2.0, 0.0, 0.0, 3.0, 0.0, 1.5]),
            (0.875, [0.0, -4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
        ],
    )
    def test_hard_at_the_end(self, sparsity, expected):
        treatment, _ = treated(PDP(sparsity))
        advance(treatment, 1.0)
        np.testing.assert_array_equal(np.ravel(treatment()), expected)

    def test_weights_that_are_all_alike_stay(self):
        treatment, _ = treated(PDP(0.5), kernel=np.ones((8, 1)))
        advance(treatment, 1.0)
        np.testing.assert_array_equal(treatment(), np.ones((8, 1)))


SCORES = np.reshape([3.0, -1.0, 2.0, 0.5, 4.0, -2.0, 1.0, 0.0], (8, 1))


class TestMovement:
    @pytest.mark.parametrize(
        ("sparsity", "expected"),
        [
            (0.25, [0.5, 0.0, 2.0, 0.25, -1.0, 0.0, -0.125, 1.5]),
            (0.5, [0.5, 0.0, 2.0, 0.0, -1.0, 0.0, -0.125, 0.0]),
            (0.99, [0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0]),
        ],
    )
    def test_keeps_the_highest_scores(self, sparsity, expected):
        treatment, movement = treated(Movement(sparsity))
        movement.scores.assign(SCORES)
        np.testing.assert_array_equal(treatment(), EIGHT)
        advance(treatment, 1.0)
        np.testing.assert_array_equal(np.ravel(treatment.bake()), expected)
        assert not np.signbit(treatment.bake()[1])

    def test_gradients(self):
        treatment, movement = treated(Movement(0.5))
        movement.scores.assign(SCORES)
        advance(treatment, 1.0)
        latent, scores = models.gradients(
            treatment, UPSTREAM.astype("float32"), movement.scores
        )
        np.testing.assert_array_equal(np.ravel(latent), [1, 0, -1, 0, 3, 0, 8, 0])
        np.testing.assert_allclose(scores, UPSTREAM * EIGHT)

    def test_of_equal_scores_exactly_half_stay(self):
        treatment, movement = treated(Movement(0.5))
        advance(treatment, 1.0)
        np.testing.assert_array_equal(np.ravel(movement.mask), [True] * 4 + [False] * 4)

    def test_sparsity_rises_along_a_cubic_to_two_thirds(self):
        found = [Movement(0.8).sparsity_at(p) for p in (0, 1 / 3, 2 / 3, 1)]
        np.testing.assert_allclose(found, [0, 0.7, 0.8, 0.8])


def test_soft_movement():
    treatment, movement = treated(SoftMovement(0.6, penalty_weight=2.0))
    movement.scores.assign(SCORES)
    np.testing.assert_array_equal(treatment(), EIGHT)
    advance(treatment, 1.0)
    # σ(S) >= 0.6 from S = 0.405 on.
    expected = [0.5, 0.0, 2.0, 0.25, -1.0, 0.0, -0.125, 0.0]
    np.testing.assert_array_equal(np.ravel(treatment()), expected)
    np.testing.assert_allclose(movement.penalty(), 2 * sigmoid(SCORES).sum(), rtol=1e-5)
    latent, scores = models.gradients(
        treatment, UPSTREAM.astype("float32"), movement.scores
    )
    np.testing.assert_array_equal(np.ravel(latent), [1, 0, -1, 4, 3, 0, 8, 0])
    np.testing.assert_allclose(scores, UPSTREAM * EIGHT)


class TestEdgePopup:
    def test_keeps_the_largest_scores_and_the_scale(self):
        treatment, popup = treated(EdgePopup(0.75))
        popup.scores.assign(SCORES)
        advance(treatment, 0.5)
        np.testing.assert_allclose(np.ravel(treatment()), [1, 0, 0, 0, -2, 0, 0, 0])
        _, scores = models.gradients(
            treatment, UPSTREAM.astype("float32"), popup.scores
        )
        expected = 2 * UPSTREAM * EIGHT * np.sign(SCORES)
        np.testing.assert_allclose(scores, expected)
        assert not treatment.variable.trainable

    def test_signed_constant_has_one_magnitude(self):
        treatment, popup = treated(EdgePopup(0.75, signed_constant=True, rescale=False))
        popup.scores.assign(SCORES)
        advance(treatment, 1.0)
        expected = np.array([1, 0, 0, 0, -1, 0, 0, 0]) * EIGHT.std()
        np.testing.assert_allclose(np.ravel(treatment()), expected, rtol=1e-6)

    def test_a_training_leaves_the_weights_alone(self):
        model = tfc.compress(models.small(), {".*": EdgePopup(0.5)})
        model.compile("sgd", "mse", run_eagerly=True)
        before = treatments(model)[0][1].variable.numpy()
        scores = treatments(model)[0][1].transforms[0].scores.numpy()
        x = models.inputs(model)
        model.fit(x, np.ones((4, 5)), 2, verbose=0, callbacks=[Annealing()])
        treatment = treatments(model)[0][1]
        np.testing.assert_array_equal(treatment.variable, before)
        assert (treatment.transforms[0].scores.numpy() != scores).any()
        assert np.count_nonzero(treatment.bake()) == 24
        # The stripped model can be trained like any other.
        assert tfc.strip(model).layers[0].kernel.trainable


class TestSupermask:
    def test_inference_keeps_what_is_likely(self):
        treatment, supermask = treated(Supermask())
        supermask.scores.assign(SCORES - 0.75)
        expected = 2 * np.array([0.5, 0, 2, 0, -1, 0, -0.125, 0])
        np.testing.assert_allclose(np.ravel(treatment()), expected)

    def test_gradient_passes_the_draw(self):
        treatment, supermask = treated(Supermask(rescale=False))
        supermask.scores.assign(SCORES)
        _, scores = models.gradients(
            treatment, UPSTREAM.astype("float32"), supermask.scores, training=True
        )
        p = sigmoid(SCORES)
        np.testing.assert_allclose(scores, UPSTREAM * EIGHT * p * (1 - p), rtol=1e-4)

    def test_draws_as_often_as_it_should(self):
        treatment, supermask = treated(
            Supermask(rescale=False, seed=1), kernel=np.ones((8, 1))
        )
        supermask.scores.assign(SCORES)
        mean = np.mean([treatment(training=True) for _ in range(200)], axis=0)
        np.testing.assert_allclose(mean, sigmoid(SCORES), atol=0.12)

    def test_rescaled_draws_keep_the_sum(self):
        treatment, _ = treated(Supermask(seed=1), kernel=np.ones((8, 1)))
        value = treatment(training=True).numpy()
        assert 0 < np.count_nonzero(value) < 8
        np.testing.assert_allclose(value.sum(), 8.0)


def gated():
    """Two dense layers with a normalization between them, whose scale gates neurons."""
    return keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(6, name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.ReLU(),
            keras.layers.Dense(5, name="head"),
        ]
    )


@pytest.mark.parametrize(
    "transforms",
    [
        [ContinuousSparsification()],
        [SoftThreshold()],
        [PDP(0.5)],
        [Movement(0.5)],
        [SoftMovement(0.5)],
        [Powerpropagation(), Mask()],
    ],
    ids=repr,
)
def test_scale_vectors_are_gates_of_channels(transforms):
    model = gated()
    gamma = np.array([1.0, 0.25, 2.0, 0.125, 3.0, 0.5])
    model.get_layer("norm").gamma.assign(gamma)
    model = tfc.compress(model, {".*/gamma": transforms})
    ((_, treatment),) = treatments(model)
    first = treatment.transforms[0]
    order = gamma - 0.75
    if isinstance(first, ContinuousSparsification):
        first.soft_mask.assign(order)
    elif isinstance(first, SoftThreshold):
        first.logit.assign([0.0])
    elif isinstance(first, (Movement, SoftMovement)):
        first.scores.assign(order)
    else:
        pruning = [t for t in treatment.transforms if isinstance(t, Mask)]
        for mask in pruning:
            mask.mask.assign(order > 0)
    advance(treatment, 1.0)
    x = models.inputs(model)
    small = tfc.shrink(model)
    assert small.get_layer("hidden").units == 3
    assert models.difference(model, small, x) <= 1e-5


def test_penalties_reach_the_loss():
    model = tfc.compress(
        models.small(), {".*": [ContinuousSparsification(penalty_weight=1.0)]}
    )
    count = 8 * 6 + 6 * 5
    assert sum(map(float, model.losses)) == pytest.approx(count / 2)
    assert tf.is_tensor(model.losses[0])
