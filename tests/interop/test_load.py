import io
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


def keras2_archive(path, config=None):
    weights = io.BytesIO()
    h5py.File(weights, "w").close()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "2.15.0"}')
        archive.writestr("config.json", json.dumps(config or {}))
        archive.writestr("model.weights.h5", weights.getvalue())
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
    monkeypatch.setattr(
        tfmot, "convert", lambda path, safe_mode: f"converted {path.name}"
    )
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
    with pytest.raises(
        TypeError, match="got the model 'sequential', expected the path"
    ):
        tfc.load_model(model)
    with pytest.raises(TypeError, match="got 3, expected the path"):
        tfc.load_model(3)


@pytest.mark.parametrize("path", [pathlib.Path, str])
def test_path_types(model, tmp_path, path):
    model.save(tmp_path / "model.keras")
    assert tfc.load_model(path(tmp_path / "model.keras")).count_params() == 57


LAMBDA = {"name": "l", "function_type": "function", "function": "f", "module": "os"}


def nested(class_name, config):
    return "TimeDistributed", {
        "name": "outer",
        "layer": {"class_name": class_name, "config": config},
    }


@pytest.mark.parametrize(
    "layer",
    [
        ("Lambda", LAMBDA),
        ("package>Lambda", LAMBDA),
        nested("Lambda", LAMBDA),
        (
            "Sequential",
            {"name": "inner", "layers": [keras2_sequential(("Lambda", LAMBDA))]},
        ),
        ("TFOpLambda", {"name": "t", "function": "io.gfile.rmtree"}),
        ("SlicingOpLambda", {"name": "t", "function": "load_op_library"}),
        ("TensorFlowOpLayer", {"name": "t", "node_def": {"op": "WriteFile"}}),
        ("ClassMethod", {"name": "t", "cls_symbol": "io.TFRecordWriter"}),
        ("Dense", {"name": "d", "activation": {"class_name": "__lambda__"}}),
        (
            "Dense",
            {
                "name": "d",
                "activation": {"class_name": "function", "module": "os.path"},
            },
        ),
    ],
)
@pytest.mark.parametrize("kind", [".h5", ".keras", ""])
def test_code_of_keras_2_files_is_refused_before_it_runs(
    monkeypatch, tmp_path, layer, kind
):
    monkeypatch.setattr(tfmot, "_check_installed", lambda: None)
    monkeypatch.setattr(tfmot, "_run_child", lambda *_: pytest.fail("it was loaded"))
    config = keras2_sequential(("PruneLowMagnitude", {"name": "pruned"}), layer)
    path = tmp_path / f"evil{kind}"
    if kind == ".h5":
        save_keras2_h5(path, config, {})
    elif kind == ".keras":
        keras2_archive(path, config)
    else:
        saved_model(path)
        (path / "keras_metadata.pb").write_bytes(metadata(config))
    with pytest.raises(ValueError, match=r"evil.*its|it .*safe_mode=False"):
        tfc.load_model(path)
    with pytest.raises(pytest.fail.Exception, match="it was loaded"):
        tfc.load_model(path, safe_mode=False)


def metadata(config):
    """The bytes of a `keras_metadata.pb` with one node, the root."""
    text = json.dumps(config).encode()
    size = bytes([len(text) & 127 | 128, len(text) >> 7])
    node = b"\x1a\x04root" + b"\x2a" + size + text
    return b"\x0a" + bytes([len(node) & 127 | 128, len(node) >> 7]) + node


def test_lambda_of_keras_2_runs_when_asked(tmp_path):
    code, defaults, closure = keras.src.utils.python_utils.func_dump(lambda x: 3 * x)
    config = keras2_sequential(
        ("InputLayer", {"batch_input_shape": [None, 2], "name": "input"}),
        (
            "Lambda",
            {
                "name": "triple",
                "function": [code, defaults, closure],
                "function_type": "lambda",
                "output_shape": None,
                "output_shape_type": "raw",
            },
        ),
    )
    save_keras2_h5(tmp_path / "old.h5", config, {"triple": []})
    with pytest.raises(ValueError, match="holds Python code.*safe_mode=False"):
        tfc.load_model(tmp_path / "old.h5")
    loaded = tfc.load_model(tmp_path / "old.h5", safe_mode=False)
    np.testing.assert_array_equal(loaded(np.ones((1, 2))), [[3, 3]])


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_of_keras_3_files_is_refused(tmp_path, suffix):
    model = keras.Sequential([keras.Input((2,)), L.Lambda(lambda x: 3 * x)])
    model.save(tmp_path / f"model{suffix}")
    with pytest.raises(ValueError, match="safe_mode=False"):
        tfc.load_model(tmp_path / f"model{suffix}")
    loaded = tfc.load_model(tmp_path / f"model{suffix}", safe_mode=False)
    np.testing.assert_array_equal(loaded(np.ones((1, 2))), [[3, 3]])


@pytest.mark.parametrize("member", ["config.json", "model.weights.h5"])
def test_archive_that_claims_far_more_than_it_has(model, tmp_path, member):
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[member] += bytes(300 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(
        ValueError, match=r"bomb\.keras.*claim to hold 31\d{7} bytes, which"
    ):
        tfc.load_model(tmp_path / "bomb.keras")


def test_arrays_that_are_not_there(tmp_path):
    config = keras2_sequential(
        ("InputLayer", {"batch_input_shape": [None, 2], "name": "input"}),
        ("Dense", {"name": "dense", "units": 3}),
    )
    save_keras2_h5(tmp_path / "old.h5", config, {"dense": []})
    with h5py.File(tmp_path / "old.h5", "a") as file:
        layer = file["model_weights/dense"]
        layer.attrs["weight_names"] = ["kernel"]
        layer.create_dataset("kernel", (1 << 32,), "f4", chunks=(1 << 20,))
    with pytest.raises(ValueError, match=r"old\.h5.*claim to hold 17179869184"):
        tfc.load_model(tmp_path / "old.h5")
