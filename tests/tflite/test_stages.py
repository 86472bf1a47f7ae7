"""Splitting a model into stages, and its metadata."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress as tfc
from tfcompress.tflite.metadata import metadata, set_metadata
from tfcompress.tflite.read import read, write
from tfcompress.tflite.stages import split_stages


def exported(model, path, **options):
    return read(tfc.export_tflite(model, path, **options).path.read_bytes())


@pytest.fixture
def skipping():
    """The last stage reads the input and both earlier ones."""
    x = keras.Input((4,), name="x")
    a = layers.Dense(3, "relu", name="a")(x)
    b = layers.Dense(3, name="b")(layers.Dense(3, "relu")(a))
    c = layers.Dense(3, name="c")(layers.Concatenate()([x, a, b]))
    return keras.Model(x, [layers.Dense(2, name="end")(a), b, c])


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_stages_hand_on_what_later_ones_read(skipping, precision, tmp_path):
    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    path = tmp_path / "whole.tflite"
    file = exported(skipping, path, precision=precision, samples=x)
    split_stages(file, ["one", "two", "three"])
    content = write(file)
    expected = [*tfc.Interpreter(path).run(x).values()]
    carried = {"x": x}
    for name, answers in zip(["one", "two", "three"], expected, strict=True):
        stage = tfc.Interpreter(content, signature=name)
        given = {key: carried[key] for key in stage.input_details}
        found = stage.run(given)
        found = found if isinstance(found, dict) else {name: found}
        np.testing.assert_array_equal(found[name], answers)
        carried |= found
    assert set(stage.input_details) >= {"x"}


def test_an_output_that_a_later_stage_reads_is_there_once(tmp_path):
    x = keras.Input((4,), name="x")
    a = layers.Dense(3, name="a")(x)
    model = keras.Model(x, [a, layers.Dense(2, name="b")(a)])
    file = exported(model, tmp_path / "whole.tflite")
    split_stages(file, ["one", "two"])
    (entry,) = file.signatureDefs[0].outputs
    assert entry.name == b"one"
    stage = tfc.Interpreter(write(file), signature="two")
    assert list(stage.input_details) == ["one"]


def test_as_many_names_as_outputs(skipping, tmp_path):
    file = exported(skipping, tmp_path / "whole.tflite")
    with pytest.raises(ValueError, match="has 3 outputs"):
        split_stages(file, ["one", "two"])


def test_metadata(skipping, tmp_path):
    file = exported(skipping, tmp_path / "whole.tflite")
    set_metadata(file, "about", {"n": 1})
    set_metadata(file, "about", {"n": [1, 2.5, "x"]})
    content = write(file)
    assert metadata(content, "about") == {"n": [1, 2.5, "x"]}
    assert metadata(content, "other") is None
    assert tfc.Interpreter(content).output_details
    entry = next(e for e in file.metadata if e.name == b"about")
    file.buffers[entry.buffer].data = np.frombuffer(b"{no", np.uint8)
    with pytest.raises(ValueError, match="'about' of the model is not JSON"):
        metadata(write(file), "about")
