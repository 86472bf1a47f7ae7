import numpy as np
import pytest

from tests import models
from tfcompress.transforms import Mask, Ternary


def twn(weight, threshold, axes):
    magnitude = np.abs(weight)
    above = magnitude > threshold * magnitude.mean(axis=axes, keepdims=True)
    scale = (magnitude * above).sum(axis=axes, keepdims=True)
    scale /= above.sum(axis=axes, keepdims=True)
    return scale * above * np.sign(weight)


def test_by_hand():
    # mean|w| = 1, D = 0.7, a = (1.5 + 0.9 + 2.0) / 3
    treatment = models.dense_treatment([[1.5], [-0.9], [0.6], [0.0]], Ternary())
    np.testing.assert_allclose(np.ravel(treatment()), [1.2, -1.2, 0.0, 0.0], rtol=1e-6)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("threshold", [0.0, 0.7, 0.95])
def test_closed_form(per_channel, threshold):
    kernel = np.random.default_rng(0).normal(size=(40, 3)) * [0.1, 1.0, 5.0]
    treatment = models.dense_treatment(kernel, Ternary(threshold, per_channel))
    expected = twn(kernel, threshold, (0,) if per_channel else (0, 1))
    np.testing.assert_allclose(treatment(), expected, rtol=1e-5)
    upstream = np.random.default_rng(1).normal(size=kernel.shape).astype("float32")
    np.testing.assert_array_equal(models.gradients(treatment, upstream), upstream)


def test_threshold_is_nearly_the_best():
    kernel = np.random.default_rng(0).normal(size=(5000, 1))

    def error(threshold):
        value = models.dense_treatment(kernel, Ternary(threshold))()
        return np.square(kernel - value).sum()

    assert error(0.7) <= 1.01 * min(error(t) for t in np.linspace(0.4, 0.95, 12))


def test_pruned_weights_do_not_count():
    kernel = np.random.default_rng(0).normal(size=(10, 1)).astype("float32")
    padded = np.concatenate([kernel, np.zeros((90, 1))])
    treatment = models.dense_treatment(padded, Mask(), Ternary())
    expected = models.dense_treatment(kernel, Ternary())()
    np.testing.assert_allclose(treatment()[:10], expected, rtol=1e-6)
    np.testing.assert_array_equal(treatment()[10:], np.zeros((90, 1)))


def test_ternary_weights_stay_and_an_empty_channel_is_no_nan():
    kernel = np.array([[2.0, 0.0, 3.0], [-2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    treatment = models.dense_treatment(kernel, Ternary(per_channel=True))
    np.testing.assert_array_equal(treatment(), kernel)


@pytest.mark.parametrize("threshold", [-0.1, 1.0])
def test_threshold_out_of_range(threshold):
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        Ternary(threshold)
