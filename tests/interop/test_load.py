import json
import pathlib
import zipfile

import h5py
import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.interop import tfmot

L = keras.layers


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6, 6, 2)), L.Conv2D(3, 3), L.Flatten()])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture
def images():
    return np.random.default_rng(0).random((2, 6, 6, 2), "float32")


def save_keras2_h5(path, config, weights):
    """Writes the `.h5` file that Keras 2 would write."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.13.1"
        file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = list(weights)
        for name, values in weights.items():
            layer = group.create_group(name)
            layer.attrs["weight_names"] = [f"{name}/{i}:0" for i in range(len(values))]
            for index, value in enumerate(values):
                layer[f"{name}/{index}:0"] = value


def keras2_sequential(*layers):
    entries = [{"class_name": name, "config": config} for name, config in layers]
    return {"class_name": "Sequential", "config": {"name": "old", "layers": entries}}


def test_keras_file_keeps_weights_and_compile_state(model, images, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = tfc.load_model(str(tmp_path / "model.keras"))
    np.testing.assert_array_equal(loaded(images), model(images))
    assert isinstance(loaded.optimizer, keras.optimizers.Adam)


def test_compressed_model_loads(model, images, tmp_path):
    compressed = tfc.compress(model, {".*": tfc.transforms.Codebook(4)})
    compressed.save(tmp_path / "model.keras")
    loaded = tfc.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), compressed(images))


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
@pytest.mark.parametrize("suffix", [".h5", ".hdf5"])
def test_h5_of_keras_3_comes_back_uncompiled(model, images, tmp_path, suffix):
    model.save(tmp_path / f"model{suffix}")
    loaded = tfc.load_model(tmp_path / f"model{suffix}")
    np.testing.assert_array_equal(loaded(images), model(images))
    assert not loaded.compiled


def test_depthwise_of_keras_2_is_a_plain_layer(images, tmp_path):
    expected = keras.Sequential([keras.Input((6, 6, 2)), L.DepthwiseConv2D(3)])
    config = keras2_sequential(
        ("InputLayer", {"batch_input_shape": [None, 6, 6, 2], "name": "input"}),
        ("DepthwiseConv2D", {"name": "first/depthwise", "kernel_size": 3, "groups": 1}),
    )
    weights = {"first/depthwise": expected.get_weights()}
    save_keras2_h5(tmp_path / "old.h5", config, weights)
    loaded = tfc.load_model(tmp_path / "old.h5")
    assert type(loaded.layers[0]) is L.DepthwiseConv2D
    assert loaded.layers[0].name == "first_depthwise"
    np.testing.assert_array_equal(loaded(images), expected(images))


def test_unzipped_keras_directory(model, images, tmp_path):
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        archive.extractall(tmp_path / "folder")
    loaded = tfc.load_model(tmp_path / "folder")
    np.testing.assert_array_equal(loaded(images), model(images))


def saved_model(path):
    path.mkdir()
    (path / "saved_model.pb").touch()
    (path / "keras_metadata.pb").touch()
    return path


def keras2_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "2.15.0"}')
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", "")
    return path


def wrapped_h5(path):
    config = keras2_sequential(("PruneLowMagnitude", {"name": "pruned"}))
    save_keras2_h5(path, config, {})
    return path


@pytest.mark.parametrize(
    ("make", "name"),
    [(saved_model, "saved"), (keras2_archive, "old.keras"), (wrapped_h5, "old.h5")],
)
def test_what_only_tf_keras_can_read_is_converted(monkeypatch, tmp_path, make, name):
    monkeypatch.setattr(tfmot, "convert", lambda path: f"converted {path.name}")
    assert tfc.load_model(make(tmp_path / name)) == f"converted {name}"


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_truncated_file(model, tmp_path, suffix, kept):
    path = tmp_path / f"model{suffix}"
    model.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(
        ValueError, match=rf"model\{suffix}'.*damaged.*Expected a \.keras"
    ):
        tfc.load_model(path)


def test_damaged_weights(model, tmp_path):
    path = tmp_path / "model.keras"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("model.weights.h5").header_offset
    content = bytearray(path.read_bytes())
    content[start + 60 : start + 160] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.keras'.*damaged"):
        tfc.load_model(path)


def test_archive_without_a_model(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(
        ValueError, match=r"no metadata\.json and no model\.weights\.h5"
    ):
        tfc.load_model(tmp_path / "model.keras")


def test_weights_without_architecture(model, tmp_path):
    model.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(ValueError, match=r"without an architecture.*load_weights"):
        tfc.load_model(tmp_path / "model.weights.h5")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.keras", "does not exist"),
        ("model.pt", r"unknown extension '\.pt'"),
        ("empty", r"directory has no saved_model\.pb"),
        ("graph", r"no Keras layers.*model\.save\('model\.keras'\)"),
    ],
)
def test_no_model(tmp_path, name, message):
    (tmp_path / "model.pt").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "graph").mkdir()
    (tmp_path / "graph" / "saved_model.pb").touch()
    with pytest.raises(ValueError, match=message) as info:
        tfc.load_model(tmp_path / name)
    assert str(tmp_path / name) in str(info.value)


def test_other_arguments(model):
    with pytest.raises(TypeError, match="loaded already"):
        tfc.load_model(model)
    with pytest.raises(TypeError, match="got 3 of type 'int', expected the path"):
        tfc.load_model(3)


@pytest.mark.parametrize("path", [pathlib.Path, str])
def test_path_types(model, tmp_path, path):
    model.save(tmp_path / "model.keras")
    assert tfc.load_model(path(tmp_path / "model.keras")).count_params() == 57
