"""The harm of changes of single layers."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress as tfc
from tests import models

RNG = np.random.default_rng(0)


def dense():
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, "relu", name="a"),
            layers.Dense(3, name="b"),
        ]
    )
    for weight in model.weights:
        weight.assign(RNG.normal(size=weight.shape))
    return model


def relative(changed, exact):
    return np.mean((changed - exact) ** 2) / np.mean((exact - exact.mean(0)) ** 2)


def test_each_change_by_hand():
    model, x = dense(), RNG.normal(size=(32, 6)).astype("float32")
    w1, b1, w2, b2 = [w.numpy() for w in model.weights]

    def outputs(first, second, bias=b1):
        return np.maximum(x @ first + bias, 0) @ second + b2

    exact = outputs(w1, w2)
    found = tfc.sensitivity(
        model, x, bits=[4], sparsity=[0.5], rank=[0.34], channels=[0.5]
    )
    # The smaller half of 24 weights.
    sparse = np.where(np.abs(w2) > np.sort(np.abs(w2).ravel())[11], w2, 0)
    u, s, v = np.linalg.svd(w2)
    thin = s[0] * np.outer(u[:, 0], v[0])
    assert found["b"].harms["50% zeros"] == pytest.approx(
        relative(outputs(w1, sparse), exact), rel=1e-4
    )
    assert found["b"].harms["34% of the rank"] == pytest.approx(
        relative(outputs(w1, thin), exact), rel=1e-4
    )
    # Filters and their biases together.
    norms = (w1**2).sum(0) + b1**2
    gone = np.argsort((w1**2).sum(0))[:4]
    assert norms.size == 8
    first, bias = w1.copy(), b1.copy()
    first[:, gone], bias[gone] = 0, 0
    (group,) = found.groups
    assert group.harms["50% fewer channels"] == pytest.approx(
        relative(outputs(first, w2, bias), exact), rel=1e-4
    )
    assert (found["a"].parameters, found["a"].macs) == (48, 48)


def test_the_loss_rises_by_half_the_information_times_the_square():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="a")])
    model.compile(loss="mse")
    x, y = RNG.normal(size=(16, 4)), RNG.normal(size=(16, 2))
    kernel, bias = (w.numpy() for w in model.weights)
    # d/dw of the mean over two outputs of the squared error.
    slopes = np.einsum("ni,no->nio", x, x @ kernel + bias - y)
    found = tfc.sensitivity(
        model, [(x, y)], [], sparsity=[0.5], rank=[], channels=[], measure="fisher"
    )
    change = np.where(np.abs(kernel) > np.sort(np.abs(kernel).ravel())[3], 0, kernel)
    expected = 0.5 * np.sum((slopes**2).mean(0) * change**2)
    assert found["a"].harms["50% zeros"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("measure", ["output_error", "score", "fisher"])
def test_fewer_bits_do_more_harm(measure):
    model = models.residual()
    x, y = models.inputs(model, 64), models.classes(64)
    models.compile(model)
    before = model.get_weights()
    data = {"output_error": x, "score": (x, y), "fisher": [(x, y)]}[measure]
    found = tfc.sensitivity(model, data, bits=[8, 2], measure=measure)
    harms = [(row.harms["8 bits"], row.harms["2 bits"]) for row in found.layers]
    assert all(0 <= high <= low for high, low in harms)
    assert found.groups
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_prints_ranks_and_saves(tmp_path):
    model = dense()
    found = tfc.sensitivity(model, RNG.normal(size=(16, 6)), bits=[2], rank=[])
    harms = {row.name: row.harms["2 bits"] for row in found.layers}
    assert found.ranking("2 bits") == sorted(harms, key=lambda name: -harms[name])
    assert "2 bits" in str(found)
    assert "50% fewer channels" in str(found)
    found.save(tmp_path / "sensitivity.json")
    saved = json.loads((tmp_path / "sensitivity.json").read_text())
    assert saved["layers"][0]["harms"] == found["a"].harms
    with pytest.raises(ValueError, match="expected one of"):
        found.ranking("3 bits")


def test_bad_input():
    with pytest.raises(ValueError, match="no dense, convolution or depthwise kernel"):
        tfc.sensitivity(
            keras.Sequential([keras.Input((4,)), layers.ReLU()]), np.ones((2, 4))
        )
    with pytest.raises(ValueError, match="single batch"):
        tfc.sensitivity(dense(), (np.ones((4, 6)), np.ones(4)), measure="fisher")
    model = dense()
    with pytest.raises(ValueError, match=r"compile\(loss"):
        tfc.sensitivity(model, [(np.ones((4, 6)), np.ones(4))], measure="fisher")
