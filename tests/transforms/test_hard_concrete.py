import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests.models import dense_treatment, gradients
from tfcompress.transforms import HardConcrete

LOG_ALPHA = [[-4.6, -2.0, 0.0, 2.0, 4.6]]


def treatment(**kwargs):
    found = dense_treatment([[2.0] * 5], HardConcrete(**kwargs))
    found.transforms[0].log_alpha.assign(LOG_ALPHA)
    return found


def test_probabilities_are_those_of_the_distribution():
    found = treatment()
    gates = found.transforms[0]
    # P(z > 0) = 1 - F(0), F(s) = sigmoid(β logit((s - γ) / (ζ - γ)) - log α)
    quantile = 0.1 / 1.2
    logit = np.log(quantile / (1 - quantile))
    expected = 1 - 1 / (1 + np.exp(np.array(LOG_ALPHA) - 2 / 3 * logit))
    np.testing.assert_allclose(gates.open_probability(), expected, rtol=1e-5)
    draws = found(training=True, count=20_000).numpy()[:, 0] / 2
    np.testing.assert_allclose((draws > 0).mean(axis=0), expected[0], atol=0.015)
    # P(z = 1) by symmetry.
    np.testing.assert_allclose(
        (draws == 1).mean(axis=0), 1 - expected[0][::-1], atol=0.015
    )
    assert draws.min() >= 0 and draws.max() <= 1


def test_gates_at_inference_and_the_penalty_by_hand():
    found = treatment(strength=0.1, weights_per_gate=25)
    s = 1 / (1 + np.exp(-np.array(LOG_ALPHA)))
    gate = np.clip(1.2 * s - 0.1, 0, 1)
    np.testing.assert_allclose(found(), 2 * gate, atol=1e-6)
    assert gate[0, 0] == 0 and gate[0, -1] == 1
    (penalty,) = found.penalties()
    opened = found.transforms[0].open_probability().numpy().sum()
    assert float(penalty) == pytest.approx(0.1 * 25 * opened)
    # sigmoid(log α + 1.5986): 0.0474 + 0.4010 + 0.8318 + 0.9734 + 0.9980
    assert opened == pytest.approx(3.2515, abs=1e-3)


def test_gradients_stay_finite_at_the_ends_and_log_alpha_within_its_bounds():
    found = treatment()
    gates = found.transforms[0]
    gates.log_alpha.assign([[-60.0, 60.0, 0.0, 0.0, 0.0]])
    for gradient in gradients(found, 1.0, gates.log_alpha, training=True):
        assert np.isfinite(gradient).all()
    gates.log_alpha.assign(gates.log_alpha.constraint(gates.log_alpha))
    np.testing.assert_allclose(gates.log_alpha[0, :2], [-4.60517, 4.60517], rtol=1e-5)


def test_initial_rate():
    gates = dense_treatment([[1.0]], HardConcrete(initial_rate=0.2)).transforms[0]
    assert float(tf.sigmoid(gates.log_alpha[0, 0])) == pytest.approx(0.8)


def test_warmup_leads_the_penalty_to_full_strength():
    layer = keras.layers.Dense(3, use_bias=False)
    model = keras.Sequential([keras.Input((2,)), layer])
    model = tfc.compress(model, {".*": HardConcrete(strength=1.0)})
    warmup = tfc.callbacks.PenaltyWarmup(10, 20)
    warmup.set_model(model)
    for step, factor in ((0, 0.0), (10, 0.0), (15, 0.5), (20, 1.0), (99, 1.0)):
        warmup.update(step)
        # P(z > 0) at log α = 0.
        assert float(sum(model.losses)) == pytest.approx(6 * factor * 0.83180, abs=1e-3)
    with pytest.raises(ValueError, match="after begin_step=5"):
        tfc.callbacks.PenaltyWarmup(5, 5)
    with pytest.raises(ValueError, match="found no learned noise"):
        warmup.set_model(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
