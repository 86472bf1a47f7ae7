import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from tests.models import dense_treatment, gradients
from tfcompress.transforms import LogNormal
from tfcompress.transforms.log_normal import divergence, log_moment, log_ndtr

CORNERS = [
    (mu, log_sigma) for mu in (-20.0, -5.0, 0.0, 3.0) for log_sigma in (-3.0, 0.0, 4.0)
]


def quadrature(mu, log_sigma):
    """`E[θ]`, `E[θ²]` and the divergence from the prior."""
    # Denser towards 0, where densities beyond it fall fast.
    x = -20 * np.linspace(1, 0, 100_001) ** 2
    weight = -((x - mu) ** 2) / 2 / np.exp(2 * log_sigma)
    weight = np.exp(weight - weight.max())
    density = weight / np.trapezoid(weight, x)
    ratio = 20 * np.maximum(density, 1e-300)
    return [
        np.trapezoid(density * f, x) for f in (np.exp(x), np.exp(2 * x), np.log(ratio))
    ]


@pytest.mark.parametrize(("mu", "log_sigma"), CORNERS)
def test_closed_forms_are_the_integrals(mu, log_sigma):
    m, s = (tf.constant(v, tf.float64) for v in (mu, np.exp(log_sigma)))
    found = [tf.exp(log_moment(m, s, 1)), tf.exp(log_moment(m, s, 2)), divergence(m, s)]
    np.testing.assert_allclose(found, quadrature(mu, log_sigma), rtol=2e-4, atol=1e-9)


def test_log_ndtr_and_its_gradient():
    x = np.concatenate([-np.logspace(-3, 3, 50), np.logspace(-3, 1.5, 40)])
    with tf.GradientTape() as tape:
        given = tf.constant(x)
        tape.watch(given)
        value = log_ndtr(given)
    expected = scipy.special.log_ndtr(x)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    slope = np.exp(-(x**2) / 2 - np.log(2 * np.pi) / 2 - expected)
    np.testing.assert_allclose(tape.gradient(value, given), slope, rtol=1e-4)


def test_signal_stays_and_noise_goes():
    found = dense_treatment([[2.0] * 4], LogNormal(10))
    noise = found.transforms[0]
    noise.mu.assign([[0.0, -3.0, 0.0, -15.0]])
    noise.log_sigma.assign([[-5.0, -2.0, 2.0, 1.0]])
    moments = [
        quadrature(float(m), float(s))
        for m, s in zip(noise.mu[0], noise.log_sigma[0], strict=True)
    ]
    mean, square, cost = np.transpose(moments)
    ratio = mean / np.sqrt(square - mean**2)
    assert (ratio > 1).tolist() == [True, True, False, False]
    np.testing.assert_allclose(found()[0], 2 * mean * (ratio > 1), rtol=1e-4)
    draws = found(training=True, count=50_000).numpy()[:, 0] / 2
    assert draws.min() >= np.exp(-20) and draws.max() <= 1
    np.testing.assert_allclose(draws.mean(axis=0), mean, rtol=0.05)
    assert float(found.penalties()[0]) == pytest.approx(cost.sum() / 10, rel=1e-4)


def test_gradients_are_finite_at_the_ends():
    found = dense_treatment([[1.0] * 4], LogNormal(10))
    noise = found.transforms[0]
    noise.mu.assign([[-20.0, -20.0, 5.0, 5.0]])
    noise.log_sigma.assign([[-20.0, 5.0, -20.0, 5.0]])
    for gradient in gradients(found, 1.0, noise.mu, noise.log_sigma, training=True):
        assert np.isfinite(gradient).all()
    with tf.GradientTape() as tape:
        penalty = found.penalties()[0]
    assert np.isfinite(penalty)
    for gradient in tape.gradient(penalty, [noise.mu.value, noise.log_sigma.value]):
        assert np.isfinite(gradient).all()
    assert np.isfinite(found()).all()
