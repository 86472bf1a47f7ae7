"""Inputs and outputs of files: names, order, batch sizes, states, precisions."""

import ai_edge_litert.interpreter
import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tfcompress.export import export_tflite

L = keras.layers
ops = keras.ops


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.tflite"


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def details(path):
    with tfc.Interpreter(path) as interpreter:
        return interpreter.input_details, interpreter.output_details


def test_names_that_a_file_would_take_for_one_stay_apart(path):
    x, y = keras.Input((6,), name="x-1"), keras.Input((6,), name="x_1")
    heads = [L.Dense(3, name=name)(x + y) for name in ("a-1", "a_1", "a.1")]
    model = keras.Model([x, y], heads)
    export_tflite(model, path)
    inputs, outputs = details(path)
    assert list(inputs) == ["x_1", "x_1_2"]
    assert list(outputs) == ["a_1", "a_1_2", "a_1_3"]
    given = normal(4, 6), 2 * normal(4, 6)
    with tfc.Interpreter(path) as interpreter:
        found = interpreter.run(dict(zip(inputs, given, strict=True)))
    for array, expected in zip(found.values(), model(list(given)), strict=True):
        np.testing.assert_allclose(array, expected, atol=1e-5)


def test_ends_are_in_the_order_of_the_model(path):
    z, a = keras.Input((2,), name="z"), keras.Input((3,), name="a")
    y = L.Concatenate()([z, a])
    model = keras.Model(
        [z, a], [L.Dense(n, name=name)(y) for n, name in ((4, "y"), (5, "b"))]
    )
    export_tflite(model, path)
    plain = tf.lite.Interpreter(str(path))
    shapes = [
        [tuple(d["shape"]) for d in side]
        for side in (plain.get_input_details(), plain.get_output_details())
    ]
    assert shapes == [[(1, 2), (1, 3)], [(1, 4), (1, 5)]]
    assert [list(side) for side in details(path)] == [["z", "a"], ["y", "b"]]


@pytest.mark.parametrize(
    ("precision", "codec"),
    [("float32", None), ("int8", None), ("int8", "auto"), ("int16x8", None)],
)
def test_tensors_are_called_as_the_model_calls_them(precision, codec, path):
    image, meta = keras.Input((8, 8, 1), name="image"), keras.Input((3,), name="meta")
    x = L.Flatten()(L.Conv2D(4, 3, activation="relu")(image))
    x = L.Concatenate()([L.Dense(32, name="hidden")(x), meta])
    outputs = [L.Dense(2, "softmax", name="label")(x), L.Dense(1, name="score")(x)]
    model = keras.Model([image, meta], outputs)
    samples = {"image": normal(16, 8, 8, 1), "meta": normal(16, 3)}
    export_tflite(model, path, precision, samples, codec=codec)
    assert tensor_names(path) == [["image", "meta"], ["label", "score"]]


def test_names_of_tensors_are_there_once(path):
    x = keras.Input((4,), name="x")
    model = keras.Model(x, {"x": L.Dense(3, name="dense")(x), "same": x, "again": x})
    export_tflite(model, path)
    assert tensor_names(path)[0] == ["x"]
    plain = ai_edge_litert.interpreter.Interpreter(str(path))
    names = [detail["name"] for detail in plain.get_tensor_details()]
    assert len(set(names)) == len(names)
    assert set(plain.get_signature_list()["serving_default"]["outputs"]) == {
        "x",
        "same",
        "again",
    }


def tensor_names(path):
    """What LiteRT, without signatures, calls inputs and outputs."""
    plain = ai_edge_litert.interpreter.Interpreter(str(path))
    sides = plain.get_input_details(), plain.get_output_details()
    return [[detail["name"] for detail in side] for side in sides]


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_batch_sizes_that_models_are_made_for_are_kept(precision, path):
    x = keras.Input(batch_shape=(4, 6))
    # No other batch size fits.
    model = keras.Model(x, L.Dense(3)(ops.reshape(L.Dense(6)(x), (2, 12))))
    samples = normal(10, 6)
    result = export_tflite(model, path, precision, samples=samples)
    assert max(result.noise.values()) < 0.1
    (detail,) = details(path)[0].values()
    assert tuple(detail["shape"]) == (4, 6)
    with pytest.raises(ValueError, match="batch_size=2.* the fixed batch size 4"):
        export_tflite(model, path, batch_size=2)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_batch_sizes_that_are_asked_for(precision, path):
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), L.Conv2D(4, 3), L.Flatten(), L.Dense(2)]
    )
    result = export_tflite(
        model, path, precision, samples=normal(10, 8, 8, 3), batch_size=4
    )
    assert max(result.noise.values()) < 0.1
    (detail,) = details(path)[0].values()
    assert tuple(detail["shape"]) == (4, 8, 8, 3)
    with pytest.raises(ValueError, match=r"batch_size\): got 0, expected"):
        export_tflite(model, path, batch_size=0)


def test_calibration_runs_models_of_one_batch_size(path):
    x = keras.Input(batch_shape=(4, 6))
    model = keras.Model(x, L.Dense(3)(ops.reshape(L.Dense(6)(x), (2, 12))))
    ranged = tfc.quantize_activations(model, ranges="min_max", samples=normal(10, 6))
    assert max(export_tflite(ranged, path, "int8").noise.values()) < 0.1


@pytest.mark.parametrize(
    ("precision", "limit"), [("float32", 1e-5), ("dynamic", 0.1), ("int8", 0.1)]
)
def test_files_keep_the_state_of_stateful_layers(precision, limit, path):
    keras.utils.set_random_seed(0)
    stream = normal(1, 40, 3)
    chunks = np.split(stream, 20, axis=1)
    x = keras.Input(batch_shape=(1, 2, 3))
    layers = [L.GRU(16, stateful=True), L.LSTM(16, stateful=True)]
    model = keras.Model(x, ops.stack([L.Dense(2)(layer(x)) for layer in layers], 1))
    result = export_tflite(model, path, precision, samples=np.concatenate(chunks))
    assert max(result.noise.values()) < limit
    for state in layers[0].states + layers[1].states:
        np.testing.assert_array_equal(state, 0)
    expected = np.concatenate([model(chunk) for chunk in chunks])
    largest = np.abs(expected).max((0, 2))
    with tfc.Interpreter(path) as interpreter:
        actual = np.concatenate([interpreter.run(chunk) for chunk in chunks])
    assert (np.abs(actual - expected).max((0, 2)) < limit * largest).all()
    # Without the earlier chunks, the results differ.
    anew = [tfc.Interpreter(path).run(chunk) for chunk in chunks]
    forgetful = np.concatenate(anew)
    assert (np.abs(forgetful - expected).max((0, 2)) > 2 * limit * largest).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "mixed_float16"])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_files_of_models_in_any_precision(dtype, precision, path):
    keras.utils.set_random_seed(0)
    kept = "float32" if dtype.startswith("mixed") else dtype
    x = keras.Input((8, 8, 3), dtype=kept)
    y = L.BatchNormalization(dtype=dtype)(L.Conv2D(8, 3, dtype=dtype)(x))
    y = L.GlobalAveragePooling2D(dtype=dtype)(L.ReLU(dtype=dtype)(y))
    model = keras.Model(x, L.Dense(3, dtype=dtype)(y))
    result = export_tflite(model, path, precision, samples=normal(32, 8, 8, 3))
    assert max(result.noise.values()) < 0.1
    (detail,) = details(path)[0].values()
    assert detail["dtype"] == np.dtype(precision)
    assert {v.dtype for v in model.trainable_variables} == {kept}


def test_samples_that_a_model_makes_nan_of_are_named(path):
    x = keras.Input((6,))
    model = keras.Model(x, L.Dense(3)(x / ops.sum(ops.abs(x), -1, keepdims=True)))
    samples = normal(40, 6)
    samples[[5, 37]] = 0
    for precision in ("float32", "int8"):
        with pytest.raises(ValueError, match=r"NaN for 2 samples \(at 5, 37\)"):
            export_tflite(model, path, precision, samples=samples)
    assert not path.exists()
    with pytest.raises(ValueError, match=r"NaN for 2 samples \(at 5, 37\)"):
        tfc.quantize_activations(model, ranges="min_max", samples=samples)
    with pytest.raises(ValueError, match=r"NaN for 2 samples \(at 5, 37\)"):
        tfc.quantize_weights(model, 4, samples)


def test_what_the_converter_refuses_at_one_batch_size_is_asked_at_any(path):
    """A sum before a product along an axis of one element."""
    x = keras.Input((10, 1))
    attention = L.MultiHeadAttention(num_heads=2, key_dim=4)
    model = keras.Model(x, L.Dense(2)(attention(x + x, x + x)))
    for precision in ("float32", "int8"):
        result = export_tflite(model, path, precision, samples=normal(32, 10, 1))
        assert max(result.noise.values()) < 0.1


def test_places_of_the_largest_are_one_operation(path):
    x = keras.Input((5, 4))
    places = [ops.argmax(x, -1), ops.argmin(x, 1, keepdims=True)]
    result = export_tflite(keras.Model(x, [*places, L.Dense(2)(x)]), path)
    assert result.operations["ARG_MAX"] == result.operations["ARG_MIN"] == 1
    assert result.max_error < 1e-5


class Ranked(L.Layer):
    """`x` times the sample's position in its batch, sorted by descending sum."""

    def call(self, x):
        sums = ops.sum(x, axis=-1)
        place = ops.sum(ops.cast(sums[:, None] < sums[None, :], "float32"), axis=1)
        return x * (1 + place[:, None])


@pytest.mark.parametrize("batch_size", [1, 4])
def test_models_that_compare_the_samples_of_a_batch(batch_size, path):
    x = keras.Input((6,))
    model = keras.Model(x, L.Dense(3)(Ranked()(L.Dense(4)(x))))
    samples = normal(16, 6)
    result = export_tflite(model, path, samples=samples, batch_size=batch_size)
    assert f"the file agrees with batches of {batch_size}" in result.notes[0]
    with tfc.Interpreter(path) as interpreter:
        found = np.split(interpreter.run(samples), len(samples) // batch_size)
    for part, output in zip(np.split(samples, len(found)), found, strict=True):
        np.testing.assert_allclose(output, model(part), atol=1e-5)


def test_samples_that_fill_no_batch(path):
    x = keras.Input((6,))
    model = keras.Model(x, [L.Dense(3)(x), L.Dense(2)(x)])
    export_tflite(model, path, batch_size=4)
    samples = normal(10, 6)
    with tfc.Interpreter(path) as interpreter:
        found = interpreter.run(samples)
    for array, expected in zip(found.values(), model(samples), strict=True):
        np.testing.assert_allclose(array, expected, atol=1e-5)
