"""Layers that stay float in integer files."""

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.tflite.layers import tensors_of_layers
from tfcompress.tflite.operations import operation_name
from tfcompress.tflite.read import read

L = keras.layers
X = np.random.default_rng(0).normal(size=(64, 8, 8, 3)).astype("float32")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 3, activation="relu", name="first")(x)
    x = L.BatchNormalization(name="norm")(L.Conv2D(4, 3, name="second")(x))
    x = L.ReLU(name="relu")(x)
    x = L.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(inputs, L.Softmax(name="soft")(L.Dense(3, name="head")(x)))


def float_layers(path):
    """`[(operation, layer)]` of what computes in float."""
    file = read(path.read_bytes())
    (graph,) = file.subgraphs
    names = [operation_name(file, operator) for operator in graph.operators]
    tensors = [graph.tensors[operator.outputs[0]] for operator in graph.operators]
    return [
        (name, tensor.name.decode())
        for name, tensor in zip(names, tensors, strict=True)
        # FLOAT32 is 0.
        if tensor.type == 0 and name != "DEQUANTIZE"
    ]


@pytest.mark.parametrize(
    ("expressions", "expected"),
    [
        ([], []),
        (["second"], [("CONV_2D", "second")]),
        (["relu"], [("CONV_2D", "second")]),
        (["first", "head"], [("CONV_2D", "first"), ("FULLY_CONNECTED", "head")]),
    ],
)
def test_named_layers_are_float(model, tmp_path, expressions, expected):
    path = tmp_path / "m.tflite"
    result = tfc.export_tflite(model, path, "int8", samples=X, float_layers=expressions)
    assert float_layers(path) == expected
    assert sum(count for count, _ in result.float_operations.values()) == len(expected)


def test_a_layer_that_makes_an_output(model, tmp_path):
    """Files call its result after the output, not after the layer."""
    path = tmp_path / "m.tflite"
    tfc.export_tflite(model, path, "int8", samples=X, float_layers=["soft"])
    assert [operation for operation, _ in float_layers(path)] == ["SOFTMAX"]


def test_a_layer_that_eight_bits_ruin(tmp_path):
    """One channel a thousand times as large as those that matter, next to a layer that
    undoes this: its outputs need more than 256 levels."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            L.Dense(16, name="first"),
            L.Dense(16, name="wide"),
            L.Dense(4, name="narrow"),
            L.Dense(4, name="head"),
        ]
    )
    factors = np.where(np.arange(16) == 0, 1000.0, 1.0)
    wide, narrow = model.get_layer("wide"), model.get_layer("narrow")
    wide.kernel.assign(wide.kernel * factors)
    narrow.kernel.assign(narrow.kernel / factors[:, None])
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    options = {"precision": "int8", "samples": x, "verify": False}
    expected, spread = model.predict(x, verbose=0), []
    for name, kept in [("int8", []), ("mixed", ["wide", "narrow"])]:
        path = tmp_path / f"{name}.tflite"
        tfc.export_tflite(model, path, float_layers=kept, **options)
        with tfc.Interpreter(path) as interpreter:
            error = interpreter.run(x) - expected
        spread.append(np.std(error) / np.std(expected))
    assert spread[0] > 0.3
    assert spread[1] < 0.03


def test_layers_inside_others(tmp_path):
    inputs = keras.Input((6, 8))
    block = L.MultiHeadAttention(2, 4, name="attention")
    model = keras.Model(inputs, L.Dense(3, name="head")(block(inputs, inputs)))
    x = np.random.default_rng(0).normal(size=(64, 6, 8)).astype("float32")
    names = []
    for expression in ["attention/query", "attention"]:
        path = tmp_path / "m.tflite"
        tfc.export_tflite(model, path, "int8", samples=x, float_layers=[expression])
        names.append({name for _, name in float_layers(path)})
    assert {name.partition("_")[0] for name in names[0]} == {"attention/query"}
    assert len(names[1]) > len(names[0])


def test_beside_a_loop(tmp_path):
    inputs = keras.Input((5, 3))
    model = keras.Model(inputs, L.Dense(2, name="head")(L.LSTM(4, name="lstm")(inputs)))
    x = np.random.default_rng(0).normal(size=(64, 5, 3)).astype("float32")
    path = tmp_path / "m.tflite"
    tfc.export_tflite(model, path, "int8", samples=x, float_layers=["head"])
    with tfc.Interpreter(path) as interpreter:
        assert interpreter.run(x).shape == (64, 2)
    file = read(path.read_bytes())
    graph = file.subgraphs[0]
    (dense,) = [
        operator
        for operator in graph.operators
        if operation_name(file, operator) == "FULLY_CONNECTED"
    ]
    assert graph.tensors[dense.outputs[0]].type == 0


def test_names_of_a_file(model, tmp_path):
    tfc.export_tflite(model, tmp_path / "m.tflite", names="keep")
    file = read((tmp_path / "m.tflite").read_bytes())
    with pytest.raises(ValueError, match="'norm': .*first, head, mean, relu, second"):
        tensors_of_layers(file, ["norm"], {})


def test_errors(model, tmp_path):
    path = tmp_path / "m.tflite"
    with pytest.raises(ValueError, match="one of a layer 'haed'.*Did you mean 'head'"):
        tfc.export_tflite(model, path, "int8", samples=X, float_layers=["haed"])
    with pytest.raises(ValueError, match="precision='int8' and 'int4', got 'int16x8'"):
        tfc.export_tflite(model, path, "int16x8", samples=X, float_layers=["head"])
    trained = tfc.quantize_activations(model, ranges="min_max", samples=X)
    with pytest.raises(ValueError, match="trained with tfc.quantize_activations"):
        tfc.export_tflite(trained, path, "int8", float_layers=["head"])
    with pytest.raises(TypeError, match="expected a regular expression"):
        tfc.export_tflite(model, path, "int8", samples=X, float_layers=[L.Dense])
    assert not path.exists()
