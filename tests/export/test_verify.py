"""What the check of a written file detects and reports."""

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.export import VerificationError, convert, export_tflite, verify
from tfcompress.runtime import trial

L = keras.layers


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.tflite"


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_boxes_and_scores_in_one_tensor_are_told(path):
    keras.utils.set_random_seed(0)
    x = keras.Input((16,), name="x")
    boxes = L.Dense(4, activation="sigmoid")(x) * 320
    scores = L.Dense(2, activation="sigmoid")(x)
    model = keras.Model(x, L.Concatenate(name="both")([boxes, scores]))
    result = export_tflite(model, path, "int8", samples=normal(64, 16))
    (note,) = result.notes
    assert "'both': values are lost in 2 of 6 channels (4, 5)" in note
    assert "a separate output" in note
    assert note in str(result)
    apart = export_tflite(
        keras.Model(x, [boxes, scores]), path, "int8", samples=normal(64, 16)
    )
    assert apart.notes == ()
    assert max(apart.noise.values()) < 0.1


def test_an_offset_that_swallows_the_values_is_told(path):
    x = keras.Input((8,), name="x")
    head = L.Dense(1, name="head", bias_initializer=keras.initializers.Constant(1000))
    model = keras.Model(x, head(x))
    result = export_tflite(model, path, "int8", samples=normal(64, 8))
    assert any("'head': values are lost" in note for note in result.notes)
    assert export_tflite(model, path, samples=normal(64, 8)).notes == ()


def test_the_file_is_compared_with_the_model_that_was_given(path, monkeypatch):
    model, other = models.small(), models.small()
    other.get_layer("head").bias.assign(np.full(5, 9.0))
    monkeypatch.setattr(convert, "plain_model", lambda *_: other)
    with pytest.raises(
        VerificationError, match="'head'.* differs from the Keras model"
    ):
        export_tflite(model, path)
    assert not path.exists()


def test_a_copy_in_float32_has_to_be_the_model_in_half_precision(path, monkeypatch):
    keras.config.set_dtype_policy("mixed_float16")
    model, other = models.small(), models.small()
    for old, new in zip(model.weights, other.weights, strict=True):
        new.assign(old)
    assert export_tflite(model, path).max_error < 1e-5
    other.get_layer("head").kernel.assign(-other.get_layer("head").kernel)
    plain = convert.plain_model
    monkeypatch.setattr(convert, "plain_model", lambda _, p: plain(other, p))
    with pytest.raises(VerificationError, match="the float32 copy"):
        export_tflite(model, path)


def test_compressed_and_subclassed_models_are_called_as_they_are(path):
    for build in (models.subclassed, models.two_ports):
        model = tfc.compress(build(), {".*": "uniform"})
        result = export_tflite(model, path)
        assert result.max_error < 1e-5


def test_noise_by_output(path):
    result = export_tflite(
        models.two_ports(),
        path,
        "int8",
        samples={"a": normal(32, 4), "b": normal(32, 3)},
    )
    assert set(result.noise) == {"u", "v"}
    assert 0 < result.noise["u"] < 0.1
    assert result.to_dict()["noise"] == result.noise
    assert export_tflite(models.small(), path, verify=False).noise is None


def test_tokens_are_not_only_padding(path):
    tokens = keras.Input((12,), dtype="int32", name="tokens")
    y = L.GlobalAveragePooling1D()(L.Embedding(40, 4, mask_zero=True)(tokens))
    result = export_tflite(keras.Model(tokens, L.Dense(4)(y)), path)
    assert result.max_error < 1e-5
    assert result.notes == ()


def test_inputs_are_those_that_a_model_can_take(path):
    x = keras.Input((4,), name="x")
    y = L.Dense(3)(keras.ops.exp(100 * L.Dense(4)(x)))
    result = export_tflite(keras.Model(x, y), path)
    assert result.max_error < np.inf
    assert result.notes == ()


def test_what_could_not_be_checked_is_said(path):
    x = keras.Input((4,), name="x")
    never = keras.Model(x, L.Dense(3)(x) - np.float32(np.inf))
    result = export_tflite(never, path)
    assert any("not checked" in note for note in result.notes)
    assert result.noise is None
    logarithm = keras.Model(x, keras.ops.log(keras.ops.relu(x)))
    result = export_tflite(logarithm, path, samples=normal(16, 4))
    assert any("were not compared" in note for note in result.notes)
    assert result.max_error < 1e-5


def test_classes_may_differ_where_they_are_close(path):
    x = keras.Input((8,), name="x")
    model = keras.Model(x, keras.ops.cast(L.Dense(5)(x) > 0, "int32"))
    result = export_tflite(model, path, "int8", samples=normal(64, 8))
    (noise,) = result.noise.values()
    assert noise < 0.2


def test_files_that_do_not_follow_the_inputs_are_refused(path, monkeypatch):
    model, other = models.small(), models.small()
    other.get_layer("head").kernel.assign(0 * other.get_layer("head").kernel)
    converted = convert.convert(other, verify.precision_of("dynamic"))
    monkeypatch.setattr(convert, "convert", lambda *_: converted)
    with pytest.raises(VerificationError, match="'head'"):
        export_tflite(model, path, "dynamic")


def test_a_file_that_would_end_python_is_refused(tmp_path, monkeypatch):
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGABRT)"
    monkeypatch.setattr(trial, "_RUN", crash)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    x = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
    with pytest.raises(VerificationError, match="ends with SIGABRT"):
        tfc.export_tflite(model, tmp_path / "m.tflite", "int16x8", samples=x)
    assert not list(tmp_path.iterdir())
