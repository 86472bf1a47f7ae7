"""Measured ranges: what they include, and what they do not."""

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.export import export_tflite

L = keras.layers
ops = keras.ops


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.tflite"


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def scores_and_values():
    x = keras.Input((6, 8), name="x")
    query, key, value = (L.Dense(8)(x) for _ in range(3))
    return x, ops.matmul(query, ops.transpose(key, (0, 2, 1))), value


def selected(scores, mask):
    return ops.where(mask, scores, -1e9)


def added(scores, mask):
    return scores + (1 - mask.astype("float32")) * -1e9


def lowest(scores, mask):
    return ops.where(mask, scores, np.finfo("float32").min)


@pytest.mark.parametrize("masked", [selected, added, lowest])
@pytest.mark.parametrize("precision", ["int8", "int16x8"])
def test_masks_leave_steps_for_scores(masked, precision, path):
    keras.utils.set_random_seed(0)
    x, scores, value = scores_and_values()
    mask = np.tril(np.ones((6, 6), bool))
    model = keras.Model(x, ops.matmul(ops.softmax(masked(scores, mask)), value))
    result = export_tflite(model, path, precision, samples=normal(32, 6, 8))
    assert max(result.noise.values()) < 0.05
    assert result.notes == ()


@pytest.mark.parametrize("precision", ["int8", "int16x8"])
def test_masks_that_are_inputs(precision, path):
    keras.utils.set_random_seed(0)
    x, scores, value = scores_and_values()
    keep = keras.Input((6,), name="keep")
    scores = scores + (1 - keep[:, None, :]) * -1e9
    model = keras.Model([x, keep], ops.matmul(ops.softmax(scores), value))
    kept = np.random.default_rng(0).random((32, 6)) > 0.4
    kept[:, 0] = True
    samples = {"x": normal(32, 6, 8), "keep": kept.astype("float32")}
    result = export_tflite(model, path, precision, samples=samples)
    assert max(result.noise.values()) < 0.05


@pytest.mark.parametrize("masked", [selected, added])
def test_masks_leave_steps_for_scores_in_trained_ranges(masked, path):
    keras.utils.set_random_seed(0)
    x, scores, value = scores_and_values()
    mask = np.tril(np.ones((6, 6), bool))
    model = keras.Model(x, ops.matmul(ops.softmax(masked(scores, mask)), value))
    samples = normal(32, 6, 8)
    ranged = tfc.quantize_activations(model, ranges="min_max", samples=samples)
    result = export_tflite(ranged, path, "int8", samples=samples)
    assert max(result.noise.values()) < 0.05
    with tfc.Interpreter(path) as interpreter:
        error = interpreter.run(samples) - np.asarray(model(samples))
    assert np.sqrt(np.mean(error**2)) < 0.05 * np.asarray(model(samples)).std()


@pytest.mark.parametrize("precision", ["int8", "int16x8"])
def test_infinite_padding_before_pooling(precision, path):
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 3), name="x")
    y = ops.pad(
        L.Conv2D(4, 3)(x), [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=-np.inf
    )
    model = keras.Model(x, L.Conv2D(3, 1)(L.MaxPooling2D(3, 2)(y)))
    result = export_tflite(model, path, precision, samples=normal(32, 8, 8, 3))
    assert max(result.noise.values()) < 0.05


def test_numbers_that_are_huge_and_matter_stay(path):
    x = keras.Input((4,), name="x")
    model = keras.Model(x, L.Dense(2)((x * 50000.0 + 20000.0) / 50000.0))
    result = export_tflite(model, path, "int8", samples=normal(64, 4))
    assert max(result.noise.values()) < 0.05


def test_what_others_read_is_not_cut_off_for_a_minimum(path):
    keras.utils.set_random_seed(0)
    x = keras.Input((8,), name="x")
    model = keras.Model(x, L.Dense(4)(ops.celu(L.Dense(12)(x))))
    result = export_tflite(model, path, "int8", samples=normal(64, 8))
    assert max(result.noise.values()) < 0.05
    assert result.float_operations == {}


def test_tensors_are_read_before_others_take_their_place(path):
    x = keras.Input((64,), name="x")
    model = keras.Model(x, ((x + 1.0) * 2.0 + 1.0) * 5.0 - 30.0)
    result = export_tflite(model, path, "int8", samples=normal(64, 64))
    assert max(result.noise.values()) < 0.02


@pytest.mark.parametrize("ranged", [False, True])
def test_a_dead_layer_has_a_scale(ranged, path):
    x = keras.Input((8,), name="x")
    never = keras.initializers.Constant(-100.0)
    dead = L.Dense(4, activation="relu", bias_initializer=never)(x)
    model = keras.Model(x, L.Dense(3)(dead) + L.Dense(3)(x))
    samples = normal(32, 8)
    if ranged:
        model = tfc.quantize_activations(model, ranges="min_max", samples=samples)
    result = export_tflite(model, path, "int8", samples=samples)
    assert max(result.noise.values()) < 0.05


@pytest.mark.parametrize("ranged", [False, True])
def test_one_hot(ranged, path):
    x = keras.Input((1,), dtype="int32", name="x")
    y = L.CategoryEncoding(num_tokens=6, output_mode="one_hot")(x)
    model = keras.Model(x, L.Dense(2)(y))
    samples = np.random.default_rng(0).integers(0, 6, (32, 1)).astype("int32")
    if ranged:
        model = tfc.quantize_activations(model, ranges="min_max", samples=samples)
    result = export_tflite(model, path, "int8", samples=samples)
    assert max(result.noise.values()) < 0.02
    assert "FULLY_CONNECTED" not in result.float_operations


HEADS = {
    "sum": lambda h: ops.sum(h, -1, keepdims=True) * h,
    "layer_norm": lambda h: L.LayerNormalization()(h),
    "unit_norm": lambda h: L.UnitNormalization()(h),
    "select": lambda h: ops.where(h > 0, 10 * h, ops.exp(h)),
    "selu": lambda h: ops.selu(h),
    "relu": lambda h: L.ReLU(6.0, negative_slope=0.1, threshold=0.2)(h),
    "log_sum_exp": lambda h: h - ops.logsumexp(h, -1, keepdims=True),
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_int16x8_of_what_has_no_kernel_of_16_bits(head, path):
    keras.utils.set_random_seed(0)
    x = keras.Input((8,), name="x")
    model = keras.Model(x, L.Dense(4)(head(L.Dense(12)(x))))
    result = export_tflite(model, path, "int16x8", samples=normal(64, 8))
    assert max(result.noise.values()) < 0.05


def test_measuring_leaves_samples_and_model_alone(path):
    model = models.sequential()
    samples = models.inputs(model, 16)
    before = samples.copy(), [w.numpy() for w in model.weights]
    export_tflite(model, path, "int8", samples=samples)
    np.testing.assert_array_equal(samples, before[0])
    for weight, value in zip(model.weights, before[1], strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize(
    ("kind", "precision"),
    [("float32", "int8"), ("int32", "int8"), ("int32", "int16x8")],
)
def test_indices_stay_what_they_are(kind, precision, path):
    x = keras.Input((6,), name="x", dtype=kind)
    vectors = L.Embedding(100, 8, embeddings_initializer="normal")(x[:, 1:])
    model = keras.Model(x, L.Dense(3)(L.Flatten()(vectors)))
    indices = np.random.default_rng(0).integers(0, 100, (32, 6)).astype(kind)
    result = export_tflite(model, path, precision, samples=indices)
    assert max(result.noise.values()) < 0.05


@pytest.mark.parametrize("precision", ["int8", "int16x8"])
def test_categories_stay_what_they_are_where_they_are_moved(precision, path):
    codes, x = (
        keras.Input((1,), dtype="int32", name="codes"),
        keras.Input((4,), name="x"),
    )
    encoded = L.CategoryEncoding(7, output_mode="one_hot")(codes)
    model = keras.Model([codes, x], L.Dense(3)(L.Concatenate()([encoded, x])))
    generator = np.random.default_rng(0)
    samples = {"codes": generator.integers(0, 7, (64, 1)), "x": normal(64, 4)}
    result = export_tflite(model, path, precision, samples=samples)
    assert max(result.noise.values()) < 0.03


@pytest.mark.parametrize("precision", ["int8", "int16x8"])
def test_indices_that_come_in_pairs(precision, path):
    pairs = keras.Input((2,), name="pairs")
    tables = [L.Embedding(100, 4, embeddings_initializer="normal") for _ in range(2)]
    users, films = (table(pairs[:, i]) for i, table in enumerate(tables))
    model = keras.Model(pairs, L.Dense(3)(users * films))
    indices = np.random.default_rng(0).integers(0, 100, (64, 2)).astype("float32")
    result = export_tflite(model, path, precision, samples=indices)
    assert max(result.noise.values()) < 0.05
