import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.core.compressed import treatments

L = keras.layers


def gated(deviation):
    """Two dense layers of ones, the first followed by gates."""
    ones = {"kernel_initializer": "ones"}
    layers = [L.Dense(3, name="a", **ones), L.Dense(2, name="b", **ones)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    log_variance = 2 * np.log(deviation)
    arguments = {"num_samples": 10, "initial_log_variance": log_variance}
    rules = {
        "a": {"gaussian_weights": arguments},
        "gate_.*/scale": {"group_normal_jeffreys": arguments},
    }
    return tfc.compress(tfc.gate_channels(model), rules)


def test_noise_of_weights_and_gates_by_hand():
    bits = tfc.transforms.posterior_bits(gated(deviation=0.03))
    # For w z with E[w] = E[z] = 1, Var = (1 + σ²)² - 1, about 2 σ². 2 * 0.0424 < 2^-t
    # for t up to 3; sign; log2(log2(2) + 1) = 1.
    assert bits == {"a/kernel": 3 + 1 + 1, "b/kernel": 32}
    # 2 * 0.142 < 2^-t for t = 1.
    bits = tfc.transforms.posterior_bits(gated(deviation=0.1))
    assert bits["a/kernel"] == 1 + 1 + 1


def test_what_is_cut_does_not_count():
    model = gated(deviation=0.03)
    dropout = dict(treatments(model))["gate_a/scale"].transforms[0]
    dropout.log_variance.assign([5.0, 2 * np.log(0.03), 5.0])
    assert tfc.transforms.posterior_bits(model)["a/kernel"] == 5
    dropout.log_variance.assign([5.0, 5.0, 5.0])
    assert tfc.transforms.posterior_bits(model)["a/kernel"] == 0


def test_says_when_there_is_no_posterior():
    model = keras.Sequential([keras.Input((4,)), L.Dense(3)])
    with pytest.raises(ValueError, match="no weight with a posterior"):
        tfc.transforms.posterior_bits(tfc.compress(model, {".*": "mask"}))
