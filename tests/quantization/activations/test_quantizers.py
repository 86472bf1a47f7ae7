import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.core.nouns import ActivationQuantizer
from tfcompress.quantization.activations import (
    ApproxSign,
    PowerOfTwo,
    Sign,
    SwishSign,
    TernarySign,
)
from tfcompress.quantization.layers import QuantizedActivation

X = np.array([-3.0, -1.0, -0.6, -0.3, 0.0, 0.3, 0.6, 1.0, 3.0], "float32")


def gradient(quantizer, x):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(3.0 * quantizer(x))
    return tape.gradient(loss, x) / 3.0


@pytest.mark.parametrize(
    ("quantizer", "values", "slopes"),
    [
        (Sign(), [-1, -1, -1, -1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1, 1, 1, 0]),
        (
            ApproxSign(),
            [-1, -1, -1, -1, 1, 1, 1, 1, 1],
            [0, 0, 0.8, 1.4, 2, 1.4, 0.8, 0, 0],
        ),
        (TernarySign(), [-1, -1, -1, 0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 1, 1, 1, 1, 0]),
        (
            PowerOfTwo(3, max_value=1.0),
            [-1, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 1],
            [1] * 9,
        ),
    ],
    ids=repr,
)
def test_by_hand(quantizer, values, slopes):
    np.testing.assert_array_equal(quantizer(X), np.float32(values))
    np.testing.assert_allclose(gradient(quantizer, X), slopes, rtol=1e-6)


@pytest.mark.parametrize("beta", [1.0, 5.0, 20.0])
def test_swish_sign_has_the_gradient_of_its_smooth_step(beta):
    def smooth(x):
        sigmoid = 1 / (1 + np.exp(-beta * x))
        return 2 * sigmoid * (1 + beta * x * (1 - sigmoid)) - 1

    x = np.linspace(-3, 3, 41)
    expected = (smooth(x + 1e-6) - smooth(x - 1e-6)) / 2e-6
    found = gradient(SwishSign(beta), x.astype("float32"))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.isfinite(gradient(SwishSign(beta), np.float32([-1e30, 1e30]))).all()


def every():
    return [
        PowerOfTwo(max_value=4.0) if cls is PowerOfTwo else cls()
        for cls in ActivationQuantizer.registered.values()
    ]


def test_every_quantizer_trains_is_saved_stripped_and_exported(tmp_path):
    x = keras.Input((6,), name="x")
    branches = [
        QuantizedActivation(quantizer)(keras.layers.Dense(4)(x))
        for quantizer in every()
    ]
    y = keras.layers.Concatenate()(branches)
    model = models.compile(keras.Model(x, keras.layers.Dense(5)(y)))
    values = models.inputs(model, 64)
    before = [v.numpy() for v in model.trainable_variables]
    model.fit(values, models.classes(64), verbose=0)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert (variable.numpy() != old).any()

    model.save(tmp_path / "m.keras")
    restored = keras.models.load_model(tmp_path / "m.keras")
    assert models.difference(model, restored, values) == 0
    plain = tfc.strip(model)
    assert models.difference(model, plain, values) <= 1e-6
    assert not any("tfcompress" in type(op).__module__ for op in plain.operations)
    result = tfc.export_tflite(model, tmp_path / "m.tflite", samples=values)
    assert result.max_error <= 1e-5


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_the_type_of_the_input_is_kept(policy):
    x = tf.constant(X, policy[6:])
    for quantizer in every():
        assert quantizer(x).dtype == x.dtype, quantizer
        layer = QuantizedActivation(quantizer, dtype=policy)
        assert layer(X).dtype == x.dtype


def test_powers_of_two_need_a_largest_value():
    with pytest.raises(ValueError, match="Pass max_value"):
        QuantizedActivation("power_of_two")(X)


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (SwishSign, {"beta": 0}),
        (TernarySign, {"threshold": 1.0}),
        (PowerOfTwo, {"max_value": -1.0}),
    ],
)
def test_arguments_out_of_range(cls, arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        cls(**arguments)
