import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models

L = keras.layers


def test_min_max_by_hand_with_a_shared_range_and_a_fixed_one():
    x = keras.Input((4,), name="x")
    a = L.Dense(2, use_bias=False, name="a")(x)
    b = L.Dense(2, use_bias=False, name="b")(x)
    y = L.Concatenate(name="both")([a, b])
    model = keras.Model(x, L.Softmax(name="head")(y))
    model.get_layer("a").kernel.assign(np.eye(4)[:, :2])
    model.get_layer("b").kernel.assign(-10 * np.eye(4)[:, 2:])
    samples = np.arange(40.0).reshape(10, 4)
    before = [w.numpy() for w in model.weights]
    ranged = tfc.quantize_activations(model, samples=samples)
    assert ranged.get_layer("x_range").range() == (0.0, 39.0)
    assert ranged.get_layer("a_range").range() == (-390.0, 37.0)
    assert ranged.get_layer("head_range").range() == (0.0, 255 / 256)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_clipped_range_ends_below_an_outlier_and_can_be_trained_on():
    model = keras.Sequential([keras.Input((1,), name="x"), L.Dense(1)])
    samples = np.random.default_rng(0).normal(size=(5000, 1))
    samples[0] = 200
    ranged = tfc.quantize_activations(
        model, ranges={"percentile": {"percentile": 99.9}}, samples=samples
    )
    _, high = ranged.get_layer("x_range").range()
    assert 2 < high < 10
    ranged(np.array([[high + 100]]), training=True)
    assert ranged.get_layer("x_range").range()[1] == pytest.approx(high + 1, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ranges": "mse"}, r"ranges=MSE\(\) needs samples"),
        ({"samples": np.zeros((0, 8, 8, 3))}, r"shape \(0, 8, 8, 3\).*expected"),
        ({"samples": np.zeros((2, 8, 3))}, r"expected \(count, 8, 8, 3\)"),
        ({"samples": {"picture": 0}}, "picture"),
        ({"samples": np.full((2, 8, 8, 3), np.nan)}, "NaN"),
    ],
)
def test_bad_samples(arguments, message):
    with pytest.raises(ValueError, match=message):
        tfc.quantize_activations(models.sequential(), **arguments)


def test_numbers_that_are_integers_all_the_same_are_measured():
    x = keras.Input((1,), dtype="int64")
    codes = L.IntegerLookup(vocabulary=[1, 3, 5], output_mode="one_hot")(x)
    model = keras.Model(x, L.Dense(2)(codes))
    samples = np.arange(8)[:, None]
    quantized = tfc.quantize_activations(model, ranges="min_max", samples=samples)
    np.testing.assert_allclose(quantized(samples), model(samples), atol=0.05)
