import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.core.compressed import treatments
from tfcompress.transforms import Codebook, LearnedStep, Mask


def forward(weight, step, bits):
    levels = 2 ** (bits - 1) - 1
    return step * np.rint(np.clip(weight / step, -levels, levels))


def step_gradient(weight, step, bits, upstream, axes):
    levels = 2 ** (bits - 1) - 1
    ratio = weight / step
    inside = np.abs(ratio) < levels
    slope = np.where(inside, np.rint(ratio) - ratio, levels * np.sign(ratio))
    count = np.prod([weight.shape[a] for a in axes])
    total = (upstream * slope).sum(axis=axes, keepdims=True)
    return total / np.sqrt(count * levels)


def test_by_hand():
    treatment = models.dense_treatment([[-0.4, 0.6], [1.6, 9.0]], LearnedStep(3))
    (transform,) = treatment.transforms
    # Q = 3, mean|w| = 2.9
    np.testing.assert_allclose(transform.step, [[2 * 2.9 / np.sqrt(3)]], rtol=1e-6)
    transform.step.assign([[1.0]])
    np.testing.assert_array_equal(treatment(), [[0.0, 1.0], [2.0, 3.0]])
    upstream = np.array([[1.0, 2.0], [4.0, 8.0]], "float32")
    latent, step = models.gradients(treatment, upstream, transform.step)
    np.testing.assert_array_equal(latent, [[1.0, 2.0], [4.0, 0.0]])
    # d = 0.4, 0.4, 0.4, 3; g = 1 / sqrt(4 * 3)
    expected = (0.4 + 0.8 + 1.6 + 24.0) / np.sqrt(12)
    np.testing.assert_allclose(step, [[expected]], rtol=1e-6)


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(
    ("layer", "shape", "axes"),
    [
        (lambda: keras.layers.Dense(5), (7,), (0,)),
        (lambda: keras.layers.Conv2D(5, 3), (8, 8, 2), (0, 1, 2)),
        (lambda: keras.layers.DepthwiseConv2D(3), (8, 8, 3), (0, 1)),
    ],
)
def test_closed_form(bits, per_channel, layer, shape, axes):
    model = keras.Sequential([keras.Input(shape), layer()])
    model = tfc.compress(model, {".*": LearnedStep(bits, per_channel)})
    ((_, treatment),) = treatments(model)
    (transform,) = treatment.transforms
    weight = treatment.variable.numpy().astype(np.float64)
    axes = axes if per_channel else tuple(range(weight.ndim))
    start = 2 * np.abs(weight).mean(axis=axes, keepdims=True)
    start /= np.sqrt(2 ** (bits - 1) - 1)
    np.testing.assert_allclose(transform.step, start, rtol=1e-5)

    # A step with which some weights are clipped, away from rounding thresholds.
    step = (np.abs(weight).max(axis=axes, keepdims=True) / 2 ** (bits - 1)) * 0.83
    transform.step.assign(step)
    step = transform.step.numpy().astype(np.float64)
    np.testing.assert_allclose(treatment(), forward(weight, step, bits), atol=1e-4)
    upstream = np.random.default_rng(0).normal(size=weight.shape).astype("float32")
    latent, slope = models.gradients(treatment, upstream, transform.step)
    inside = np.abs(weight / step) < 2 ** (bits - 1) - 1
    np.testing.assert_array_equal(latent, upstream * inside)
    assert not inside.all()
    expected = step_gradient(weight, step, bits, upstream, axes)
    np.testing.assert_allclose(slope, expected, rtol=2e-3, atol=1e-4)


def test_the_step_is_set_once():
    treatment = models.dense_treatment([[1.0], [2.0]], LearnedStep(4))
    (transform,) = treatment.transforms
    before = transform.step.numpy()
    treatment.variable.assign([[5.0], [9.0]])
    treatment.refresh()
    np.testing.assert_array_equal(transform.step, before)


def test_pruned_weights_do_not_shrink_the_step():
    kernel = np.zeros((8, 1))
    kernel[:2, 0] = [1.0, 3.0]
    treatment = models.dense_treatment(kernel, Mask(), LearnedStep(2))
    np.testing.assert_array_equal(treatment.transforms[1].step, [[4.0]])


def test_new_zeros_can_learn():
    treatment = models.dense_treatment(np.zeros((3, 2)), LearnedStep(4))
    np.testing.assert_allclose(treatment.transforms[0].step, [[1 / 7]])
    np.testing.assert_array_equal(treatment(), np.zeros((3, 2)))
    upstream = np.ones((3, 2), "float32")
    np.testing.assert_array_equal(models.gradients(treatment, upstream), upstream)


def test_behind_a_codebook_there_is_one_step():
    kernel = np.random.default_rng(0).normal(size=(8, 3))
    treatment = models.dense_treatment(kernel, Codebook(4), LearnedStep(8, True))
    assert treatment.transforms[1].step.shape == (1, 1)


def test_the_step_learns_to_fit():
    target = np.float32(0.31) * np.array([[-3.0], [1.0], [2.0], [3.0]], "float32")
    treatment = models.dense_treatment(target, LearnedStep(3))
    (transform,) = treatment.transforms
    transform.step.assign([[0.5]])
    for _ in range(200):
        error = treatment() - target
        _, slope = models.gradients(treatment, 2 * error, transform.step)
        transform.step.assign_sub(0.05 * slope)
    np.testing.assert_allclose(transform.step, [[0.31]], rtol=0.02)


@pytest.mark.parametrize("bits", [1, 17, 2.5, "8"])
def test_bits_out_of_range(bits):
    with pytest.raises(ValueError, match="from 2 to 16"):
        LearnedStep(bits)
