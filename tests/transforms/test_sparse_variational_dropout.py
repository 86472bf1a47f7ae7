import numpy as np
import pytest
import tensorflow as tf

from tests.models import dense_treatment, gradients
from tfcompress.transforms import (
    GaussianWeights,
    GroupNormalJeffreys,
    SparseVariationalDropout,
)
from tfcompress.transforms.sparse_variational_dropout import log_uniform_divergence


def true_divergence(log_alpha):
    """Up to a constant: -log(α) / 2 + E[log|ε|], ε ~ N(1, α), by quadrature."""
    alpha = np.exp(log_alpha)
    reach = np.linspace(-12, 12, 200_001)
    noise = np.abs(1 + np.sqrt(alpha) * reach)
    density = np.exp(-(reach**2) / 2) / np.sqrt(2 * np.pi)
    return -log_alpha / 2 + np.trapezoid(density * np.log(noise + 1e-9), reach)


def test_divergence_is_that_of_the_log_uniform_prior():
    log_alpha = np.array([-6.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0])
    # Without a constant: nothing is lost for infinite noise, E[log|ε|] - log(α) / 2 there.
    infinite = (-np.euler_gamma - np.log(2)) / 2
    expected = [true_divergence(a) - infinite for a in log_alpha]
    found = log_uniform_divergence(tf.constant(log_alpha, tf.float32))
    # The fit of the paper is as good as that.
    np.testing.assert_allclose(found, expected, atol=0.015)
    by_hand = 0.63576 * (1 - 1 / (1 + np.exp(-1.87320))) + np.log(2) / 2
    assert float(found[4]) == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize("cls", [SparseVariationalDropout, GroupNormalJeffreys])
def test_moments_and_what_is_cut(cls):
    found = dense_treatment([[1.0, 0.1, -0.01, 0.0]], cls(10))
    found.transforms[0].log_variance.assign([[-6.0, -2.0, -2.0, -2.0]])
    # log α = -6, 2.6 and, clipped, 7.2 and 8.
    np.testing.assert_allclose(found(), [[1.0, 0.1, 0.0, 0.0]])
    mean, variance = found.moments()
    np.testing.assert_allclose(mean, [[1.0, 0.1, 0.0, 0.0]])
    e = np.exp
    np.testing.assert_allclose(
        variance, [[e(-6), e(-2), e(-2), 0]], rtol=1e-3, atol=1e-8
    )
    draws = found(training=True, count=20_000).numpy()[:, 0]
    np.testing.assert_allclose(draws.mean(axis=0), mean[0], atol=0.01)
    np.testing.assert_allclose(draws.var(axis=0), variance[0], rtol=0.05, atol=1e-6)
    (penalty,) = found.penalties()
    log_alpha = tf.constant([-6.0, -2 - np.log(0.01), -2 - np.log(1e-4), 8.0])
    total = tf.reduce_sum(log_uniform_divergence(log_alpha))
    assert float(penalty) == pytest.approx(float(total) / 10, rel=1e-3)


def test_gradients_are_finite_at_zero_and_at_the_ends():
    found = dense_treatment([[0.0, 1e-20, 1e6, -1.0]], SparseVariationalDropout(10))
    dropout = found.transforms[0]
    dropout.log_variance.assign([[-60.0, 60.0, -60.0, 60.0]])
    for gradient in gradients(found, 1.0, dropout.log_variance, training=True):
        assert np.isfinite(gradient).all()
    with tf.GradientTape() as tape:
        penalty = found.penalties()[0]
    for gradient in tape.gradient(
        penalty, [found.variable.value, dropout.log_variance.value]
    ):
        assert np.isfinite(gradient).all()


def test_gaussian_weights_by_hand():
    transform = GaussianWeights(10, initial_log_variance=-2.0, max_deviation=0.2)
    found = dense_treatment([[0.5, -1.0]], transform)
    (penalty,) = found.penalties()
    by_hand = np.sum(np.exp(-2) + np.array([0.25, 1.0]) - 1 + 2) / 2
    assert float(penalty) == pytest.approx(by_hand / 10)
    np.testing.assert_allclose(found(), [[0.5, -1.0]])
    draws = found(training=True, count=20_000).numpy()[:, 0]
    np.testing.assert_allclose(draws.var(axis=0), np.exp(-2), rtol=0.05)
    log_variance = found.transforms[0].log_variance
    clipped = log_variance.constraint(tf.constant([[1.0, -9.0]]))
    np.testing.assert_allclose(clipped, [[2 * np.log(0.2), -9.0]], rtol=1e-6)
