import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tfcompress.core.compressed import treatments
from tfcompress.transforms import Uniform


def symmetric(weight, bits, axes):
    levels = 2 ** (bits - 1) - 1
    scale = np.abs(weight).max(axis=axes, keepdims=True) / levels
    return np.rint(weight / scale) * scale


def affine(weight, bits, axes):
    levels = 2**bits - 1
    low = np.minimum(weight.min(axis=axes, keepdims=True), 0)
    high = np.maximum(weight.max(axis=axes, keepdims=True), 0)
    scale = (high - low) / levels
    zero = np.rint(-low / scale)
    return scale * (np.clip(np.rint(weight / scale) + zero, 0, levels) - zero)


def treated(layer, transform, shape):
    model = keras.Sequential([keras.Input(shape), layer])
    return treatments(tfc.compress(model, {".*": transform}))[0][1]


@pytest.mark.parametrize("bits", [2, 3, 4, 8, 12, 16])
@pytest.mark.parametrize("formula", [symmetric, affine])
@pytest.mark.parametrize(
    ("layer", "shape", "axes"),
    [
        (lambda: keras.layers.Dense(5), (7,), (0,)),
        (lambda: keras.layers.Conv2D(5, 3), (8, 8, 2), (0, 1, 2)),
        (
            lambda: keras.layers.DepthwiseConv2D(3, depth_multiplier=2),
            (8, 8, 3),
            (0, 1),
        ),
        (lambda: keras.layers.Conv2DTranspose(5, 3), (8, 8, 2), (0, 1, 3)),
    ],
)
def test_closed_form_per_channel(bits, formula, layer, shape, axes):
    treatment = treated(layer(), Uniform(bits, symmetric=formula is symmetric), shape)
    expected = formula(treatment.variable.numpy().astype(np.float64), bits, axes)
    np.testing.assert_allclose(treatment(), expected, atol=2e-5 / 2**bits + 1e-6)


def test_per_tensor_has_one_scale():
    treatment = treated(keras.layers.Dense(9), Uniform(3, per_channel=False), (20,))
    value = treatment.bake()
    assert len(np.unique(np.round(value, 6))) <= 7
    np.testing.assert_allclose(
        value, symmetric(treatment.variable.numpy(), 3, (0, 1)), atol=1e-6
    )


def test_gradient_passes_straight_through():
    treatment = treated(keras.layers.Dense(4), Uniform(2), (6,))
    upstream = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(treatment() * upstream)
    gradient = tape.gradient(loss, treatment.variable.value)
    np.testing.assert_array_equal(gradient, upstream)


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_zeros_stay_zeros_and_an_empty_channel_is_no_nan(is_symmetric):
    treatment = treated(keras.layers.Dense(3), Uniform(4, symmetric=is_symmetric), (6,))
    kernel = treatment.variable.numpy()
    kernel[:, 0] = 0
    kernel[2, 1] = 0
    treatment.variable.assign(kernel)
    value = treatment.bake()
    assert (value[:, 0] == 0).all()
    assert value[2, 1] == 0


def test_rounding_again_changes_nothing():
    treatment = treated(keras.layers.Dense(5), Uniform(4), (9,))
    once = treatment.bake()
    treatment.variable.assign(once)
    np.testing.assert_array_equal(treatment.bake(), once)


@pytest.mark.parametrize("bits", [1, 17, 2.5, "8"])
def test_bits_out_of_range(bits):
    with pytest.raises(ValueError, match="from 2 to 16"):
        Uniform(bits)
