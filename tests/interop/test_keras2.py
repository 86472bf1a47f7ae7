"""Keras 2 files written by hand; test_tfmot.py reads those that tf_keras wrote."""

import json

import h5py
import keras
import numpy as np
import pytest

from tfcompress.interop import keras2

L = keras.layers


def entry(class_name, name, *nodes, **options):
    config = {"name": name, **options}
    nodes = [[[*node, {}] for node in call] for call in nodes]
    return {
        "class_name": class_name,
        "name": name,
        "config": config,
        "inbound_nodes": nodes,
    }


def functional(*entries, output, name="old"):
    return {
        "class_name": "Functional",
        "config": {
            "name": name,
            "layers": list(entries),
            "input_layers": [[entries[0]["name"], 0, 0]],
            "output_layers": [[output, 0, 0]],
        },
    }


def operator(layer, function, reference, **options):
    node = [*reference, options]
    described = entry("TFOpLambda", layer, function=function)
    return {**described, "inbound_nodes": [node]}


def load(tmp_path, config, **weights):
    path = tmp_path / "old.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        for name, values in weights.items():
            layer = file.create_group(f"model_weights/{name}")
            layer.attrs["weight_names"] = [f"{i}:0" for i in range(len(values))]
            for index, value in enumerate(values):
                layer[f"{index}:0"] = value
    return keras2.load_h5(path)


def image(*shape):
    return entry("InputLayer", "image", batch_input_shape=[None, *shape])


def test_operators_become_those_of_keras(tmp_path):
    config = functional(
        image(4),
        operator("tf.math.multiply", "math.multiply", ["image", 0, 0], y=2.0),
        operator(
            "tf.__operators__.add",
            "__operators__.add",
            ["image", 0, 0],
            y=["tf.math.multiply", 0, 0],
            name=None,
        ),
        output="tf.__operators__.add",
    )
    model = load(tmp_path, config)
    np.testing.assert_array_equal(model(np.ones((1, 4))), 3 * np.ones((1, 4)))
    assert model.operations[-1].name == "tf.__operators__.add"


def test_constant_on_the_left(tmp_path):
    subtract = operator("minus", "math.subtract", ["_CONSTANT_VALUE", -1, 1.0])
    subtract["inbound_nodes"][0][3] = {"y": ["image", 0, 0]}
    model = load(tmp_path, functional(image(2), subtract, output="minus"))
    np.testing.assert_array_equal(model(np.array([[3.0, 0.0]])), [[-2.0, 1.0]])


def test_nested_model_counts_its_making_as_a_call(tmp_path):
    inner = functional(
        entry("InputLayer", "inside", batch_input_shape=[None, 2]),
        entry("Dense", "dense", [["inside", 0, 0]], units=2),
        output="dense",
        name="inner",
    )
    nested = {**inner, "name": "inner"}
    nested["inbound_nodes"] = [[["image", 0, 0, {}]], [["inner", 1, 0, {}]]]
    config = functional(
        image(2), nested, entry("ReLU", "relu", [["inner", 2, 0]]), output="relu"
    )
    kernel = np.array([[1.0, 2.0], [3.0, 4.0]], "float32")
    bias = np.array([0.5, -0.5], "float32")
    model = load(tmp_path, config, inner=[kernel, bias], image=[], relu=[])
    x = np.array([[1.0, -1.0], [2.0, 0.0]], "float32")
    once = x @ kernel + bias
    np.testing.assert_allclose(model(x), np.maximum(once @ kernel + bias, 0))


def test_hard_sigmoid_keeps_its_old_slope(tmp_path):
    config = functional(
        image(3),
        entry("Activation", "act", [["image", 0, 0]], activation="hard_sigmoid"),
        output="act",
    )
    model = load(tmp_path, config, act=[])
    outputs = model(np.array([[-3.0, 1.0, 2.6]]))
    np.testing.assert_allclose(outputs, [[0.0, 0.7, 1.0]], atol=1e-6)
    copy = keras.models.clone_model(model)
    np.testing.assert_array_equal(copy(np.ones((1, 3))), model(np.ones((1, 3))))


def test_frozen_layers_stay_frozen(tmp_path):
    config = functional(
        image(2),
        entry("BatchNormalization", "bn", [["image", 0, 0]], trainable=False, axis=[1]),
        output="bn",
    )
    values = [np.full(2, value, "float32") for value in (1, 2, 3, 4)]
    model = load(tmp_path, config, bn=values)
    assert not model.trainable_weights
    np.testing.assert_array_equal(model.layers[1].gamma, values[0])
    np.testing.assert_array_equal(model.layers[1].moving_variance, values[3])


def test_mixed_precision_policy(tmp_path):
    policy = {"class_name": "Policy", "config": {"name": "mixed_float16"}}
    config = functional(
        image(2),
        entry("Dense", "dense", [["image", 0, 0]], units=1, dtype=policy),
        output="dense",
    )
    model = load(tmp_path, config, dense=[np.ones((2, 1)), np.zeros(1)])
    assert model.get_layer("dense").compute_dtype == "float16"
    assert model.get_layer("dense").kernel.dtype == "float32"


def test_names_split_over_several_attributes(tmp_path):
    with h5py.File(tmp_path / "names.h5", "w") as file:
        file.attrs["weight_names0"] = ["a", "b"]
        file.attrs["weight_names1"] = ["c"]
        assert keras2._read_names(file.attrs, "weight_names") == ["a", "b", "c"]


def broken(*entries):
    return functional(image(4), *entries, output=entries[-1]["name"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            broken(entry("Lambda", "code", [["image", 0, 0]])),
            "'code' .Lambda. of the Keras 2 model holds Python code.*load_weights",
        ),
        (
            broken(entry("LocallyConnected1D", "local", [["image", 0, 0]])),
            "'local' .LocallyConnected1D. .* does not exist in Keras 3",
        ),
        (
            broken(operator("op", "signal.stft", ["image", 0, 0])),
            r"'op' .* calls TensorFlow's 'signal\.stft', for which no Keras 3",
        ),
        (
            broken(operator("op", "math.add", ["image", 0, 0], y=1.0, strange=3)),
            r"'math\.add' with arguments that Keras 3 does not know: .*'strange'",
        ),
        (
            broken(entry("LSTM", "lstm", [["image", 0, 0]], units=2, time_major=True)),
            "'lstm' .LSTM. .* has time_major=True, which Keras 3 does not know",
        ),
        (
            broken(entry("Dense", "dense", [["image", 0, 0]], units="many")),
            "'dense' .Dense. of the Keras 2 model cannot be rebuilt",
        ),
        (
            broken(entry("ReLU", "relu", [["relu", 0, 0]])),
            "layers .'relu'. .* not connected to its inputs",
        ),
    ],
)
def test_what_keras_3_lacks_is_named(tmp_path, config, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, config)


def test_other_number_of_weights(tmp_path):
    config = broken(entry("Dense", "dense", [["image", 0, 0]], units=1))
    with pytest.raises(ValueError, match="'dense' has 2 weights in Keras 3 and 1 in"):
        load(tmp_path, config, dense=[np.ones((4, 1))])


def test_sequential_without_a_shape(tmp_path):
    entries = [{"class_name": "Dense", "config": {"name": "dense", "units": 1}}]
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": entries}}
    with pytest.raises(ValueError, match="'s' was saved before its input shape"):
        load(tmp_path, config)
