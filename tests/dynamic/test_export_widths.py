"""All widths of a network in one file, or in one file each."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress as tfc
from tfcompress.tflite.metadata import metadata

RNG = np.random.default_rng(0)
X = RNG.normal(size=(128, 8, 8, 3)).astype("float32")


def network(channels=64):
    x = keras.Input((8, 8, 3))
    y = x
    for _ in range(2):
        y = layers.Conv2D(channels, 3, padding="same", use_bias=False)(y)
        y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.AveragePooling2D(4)(y)
    y = layers.Dense(128, "relu")(layers.Flatten()(y))
    return keras.Model(x, layers.Dense(4)(y))


@pytest.fixture(scope="module")
def slimmable():
    keras.utils.set_random_seed(0)
    made = tfc.dynamic.Slimmable(network(), [0.25, 0.5, 0.75, 1.0])
    made.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    made.fit(X, RNG.integers(0, 4, 128), epochs=2, verbose=0)
    return made


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_each_signature_is_a_width(slimmable, precision, tmp_path):
    path = tmp_path / "all.tflite"
    results = tfc.dynamic.export_widths(slimmable, path, precision, X)
    for width in slimmable.widths:
        interpreter = tfc.Interpreter(path, signature=f"width_{width:g}")
        expected = slimmable.at(width).predict(X, verbose=0)
        error = np.std(interpreter.run(X) - expected) / np.std(expected)
        assert error < {"float32": 1e-5, "int8": 0.15}[precision], width
        assert results[width].size_bytes == path.stat().st_size
    assert metadata(path.read_bytes(), "tfc.widths") == {
        f"width_{width:g}": width for width in slimmable.widths
    }


def test_integers_are_shared(slimmable, tmp_path):
    results = tfc.dynamic.export_widths(slimmable, tmp_path / "all.tflite", "int8", X)
    alone = tfc.export_tflite(slimmable.at(1.0), tmp_path / "1.tflite", "int8", X)
    assert results[1.0].size_bytes < 1.15 * alone.size_bytes
    shared = next(note for note in results[0.5].notes if note.startswith("width_0.5:"))
    assert "are slices" in shared


def test_files_of_builtin_operations(slimmable, tmp_path):
    results = tfc.dynamic.export_widths(
        slimmable, tmp_path / "model.tflite", profile="builtin"
    )
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"model_{width:g}.tflite" for width in (0.25, 0.5, 0.75, 1)]
    sizes = [result.size_bytes for result in results.values()]
    assert sizes == sorted(sizes)


def test_shared_batch_norms_need_data(tmp_path):
    slimmable = tfc.dynamic.Slimmable(network(8), [0.5, 1.0], batch_norm="shared")
    with pytest.raises(ValueError, match="needs data"):
        tfc.dynamic.export_widths(slimmable, tmp_path / "a.tflite")
    tfc.dynamic.export_widths(slimmable, tmp_path / "a.tflite", data=[X])


def test_a_codec(slimmable, tmp_path):
    with pytest.raises(ValueError, match="encodes one width at a time"):
        tfc.dynamic.export_widths(slimmable, tmp_path / "a.tflite", codec="auto")
    assert not list(tmp_path.iterdir())
