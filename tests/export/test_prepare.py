import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.export.precisions import precision_of
from tfcompress.export.prepare import plain_model, prepared

L = keras.layers


def test_a_model_that_is_plain_already_is_not_copied():
    model = keras.Sequential([keras.Input((4,)), L.Dense(2)])
    for name in ("float32", "float16", "dynamic", "int8", "int16x8"):
        precision = precision_of(name)
        assert plain_model(model, precision) is model
        assert prepared(model, precision) is model


def test_mixed_precision_is_found_inside_of_other_layers():
    inner = keras.Sequential([L.TimeDistributed(L.Dense(3, dtype="mixed_float16"))])
    x = keras.Input((6, 4))
    model = keras.Model(x, inner(L.Conv1D(4, 3, dtype="mixed_bfloat16")(x)))
    plain = plain_model(model, precision_of("float32"))
    assert {layer.compute_dtype for layer in plain._flatten_layers()} == {"float32"}
    for old, new in zip(model.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_loops_are_unrolled_where_they_would_stay_float():
    x = keras.Input((5, 4))
    model = keras.Model(x, L.Bidirectional(L.LSTM(3))(x))
    assert prepared(model, precision_of("float32")) is model
    assert prepared(model, precision_of("int8")) is model
    unrolled = prepared(model, precision_of("int16x8"))
    assert unrolled.layers[-1].forward_layer.unroll


class Twice(L.Layer):
    def call(self, x):
        return 2 * x


def test_loops_are_unrolled_next_to_classes_that_nobody_registered():
    x = keras.Input((5, 4))
    model = keras.Model(x, Twice()(L.GRU(3)(x)))
    unrolled = prepared(model, precision_of("int16x8"))
    assert unrolled.layers[1].unroll
    assert isinstance(unrolled.layers[2], Twice)


def test_int4_kernels_lie_on_a_grid_of_seven_steps():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((16,)), L.Dense(4), L.Dense(1)])
    on_grid = np.arange(4, dtype=np.float32)[:, None] / 4
    model.layers[1].kernel.assign(on_grid)
    made = prepared(model, precision_of("int4"))
    steps = made.layers[0].kernel.numpy()
    steps = steps / np.abs(steps).max(axis=0) * 7
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
    # A kernel that already lies on a grid keeps it.
    np.testing.assert_array_equal(made.layers[1].kernel, on_grid)


@pytest.mark.parametrize("far", [-1e9, -1_000_000_000, np.float32(-1e9)])
def test_a_number_that_stands_for_infinity_becomes_one_of_the_same_kind(far, tmp_path):
    mask = keras.Input((4,), dtype="int32", name="mask")
    hidden = keras.ops.multiply(1.0 - keras.ops.cast(mask, "float32"), far)
    x = np.random.default_rng(0).integers(0, 2, (64, 4)).astype("int32")
    model = tfc.quantize_activations(
        keras.Model(mask, hidden), ranges="min_max", samples=x
    )
    result = tfc.export_tflite(model, tmp_path / "m.tflite", "int8", samples=x)
    assert result.operations["MUL"] == 1
    with tfc.Interpreter(tmp_path / "m.tflite") as interpreter:
        y = interpreter.run(x)
    assert set(np.unique(y[x == 1])) == {0.0}
    # A softmax makes nothing of it.
    assert y[x == 0].max() < -15
