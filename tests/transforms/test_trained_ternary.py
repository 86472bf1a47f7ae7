import numpy as np
import pytest

from tests import models
from tfcompress.transforms import TrainedTernary


def test_by_hand():
    kernel = [[4.0], [2.0], [0.2], [-0.3], [-1.0], [0.0]]
    treatment = models.dense_treatment(kernel, TrainedTernary(0.05))
    (transform,) = treatment.transforms
    # D = 0.2, which itself counts as zero (in float32 too: 0.05 * 4 = 0.2).
    np.testing.assert_allclose(transform.positive, [[3.0]])
    np.testing.assert_allclose(transform.negative, [[0.65]])
    values = np.ravel(treatment())
    np.testing.assert_allclose(values, [3.0, 3.0, 0.0, -0.65, -0.65, 0.0])
    upstream = np.array([[1.0], [2.0], [4.0], [8.0], [16.0], [32.0]], "float32")
    latent, positive, negative = models.gradients(
        treatment, upstream, transform.positive, transform.negative
    )
    np.testing.assert_allclose(np.ravel(latent), [3.0, 6.0, 4.0, 5.2, 10.4, 32.0])
    np.testing.assert_allclose(positive, [[3.0]])
    np.testing.assert_allclose(negative, [[-24.0]])


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.4])
def test_closed_form(per_channel, threshold):
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(40, 3)).astype("float32") * [[0.1, 1.0, 5.0]]
    treatment = models.dense_treatment(kernel, TrainedTernary(threshold, per_channel))
    (transform,) = treatment.transforms
    axes = (0,) if per_channel else (0, 1)
    limit = threshold * np.abs(kernel).max(axis=axes, keepdims=True)
    above, below = kernel > limit, kernel < -limit

    def total(values, side):
        return (values * side).sum(axis=axes, keepdims=True)

    p = total(kernel, above) / total(1, above)
    n = -total(kernel, below) / total(1, below)
    np.testing.assert_allclose(transform.positive, p, rtol=1e-5)
    np.testing.assert_allclose(transform.negative, n, rtol=1e-5)
    np.testing.assert_allclose(treatment(), p * above - n * below, rtol=1e-5)

    upstream = generator.normal(size=kernel.shape).astype("float32")
    latent, positive, negative = models.gradients(
        treatment, upstream, transform.positive, transform.negative
    )
    factor = np.where(above, p, np.where(below, n, 1.0))
    np.testing.assert_allclose(latent, upstream * factor, rtol=1e-5)
    np.testing.assert_allclose(positive, total(upstream, above), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(negative, -total(upstream, below), rtol=1e-4, atol=1e-5)


def test_the_values_are_set_once():
    treatment = models.dense_treatment([[1.0], [-2.0]], TrainedTernary())
    treatment.variable.assign([[5.0], [-9.0]])
    treatment.refresh()
    np.testing.assert_array_equal(treatment(), [[1.0], [-2.0]])


def test_ternary_weights_stay_and_an_empty_channel_is_no_nan():
    kernel = np.array([[2.0, 0.0, 3.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    treatment = models.dense_treatment(kernel, TrainedTernary(per_channel=True))
    np.testing.assert_array_equal(treatment(), kernel)


@pytest.mark.parametrize("threshold", [-0.1, 1.0])
def test_threshold_out_of_range(threshold):
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        TrainedTernary(threshold)
