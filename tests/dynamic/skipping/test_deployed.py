"""Blocks that run only if needed, in Keras and in files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests.dynamic.skipping import models
from tests.dynamic.skipping.test_skip_net import X, set_gates
from tfcompress.dynamic import SkipNet
from tfcompress.dynamic.skipping.skipped_block import SkippedBlock
from tfcompress.tflite.operations import operation_name
from tfcompress.tflite.read import read

L = keras.layers


def skip_net(gate="pooled"):
    """Gates that are open for some samples, far from where they change."""
    made = SkipNet(models.residual(3), gate=gate)
    # The recurrent gate is one for all blocks: the first one sets it.
    for place, name in enumerate(made.blocks if gate == "pooled" else ["gates"]):
        suffix = "gate_logit" if gate == "pooled" else "logit"
        layer = made.gated.get_layer(f"{name}_{suffix}")
        kernel, bias = layer.get_weights()
        layer.set_weights([10 * kernel, bias])
        logits = made.gated.predict(X, verbose=0)["logits"][:, place]
        layer.set_weights([10 * kernel, bias - _widest_gap(logits)])
    return made


def _widest_gap(logits):
    """A value between two logits, as far from both as possible."""
    values = np.sort(logits)
    first = np.argmax(np.diff(values))
    return values[first : first + 2].mean()


def graphs(path):
    """Operations of each graph of a file."""
    file = read(path.read_bytes())
    return [[operation_name(file, op) for op in g.operators] for g in file.subgraphs]


@pytest.mark.parametrize("gate", ["pooled", "recurrent"])
def test_it_computes_the_same_one_by_one_and_in_batches(gate):
    made = skip_net(gate)
    ran = np.array(list(made.decisions(X).values()))
    assert 0 < ran.mean() < 1
    expected, deployed = made.predict(X, verbose=0), made.deployed()
    np.testing.assert_allclose(deployed.predict(X, verbose=0), expected, rtol=1e-5)
    for run in (deployed, tf.function(deployed)):
        single = np.concatenate([run(x[None]) for x in X])
        np.testing.assert_allclose(single, expected, rtol=1e-4, atol=1e-6)


def test_a_closed_block_does_not_run():
    def fail(x):
        raise AssertionError

    x = keras.Input((2,))
    block = SkippedBlock(keras.Model(x, L.Lambda(fail, output_shape=(2,))(x)))
    values = np.array([[1.0, 2.0]], "float32")
    np.testing.assert_array_equal(block(values, np.zeros((1, 1))), values)
    with pytest.raises(AssertionError):
        block(values, np.ones((1, 1)))


def test_the_relu_after_the_addition_belongs_to_the_block():
    deployed = SkipNet(models.residual()).deployed()
    (layer,) = [one for one in deployed.layers if one.name == "block0"]
    assert isinstance(layer.block.layers[-1], L.ReLU)


def test_a_relu_stays_where_the_input_may_be_negative():
    x = keras.Input((4,))
    y = L.ReLU()(L.Add(name="block")([x, L.Dense(4)(x)]))
    made = SkipNet(keras.Model(x, y))
    set_gates(made, -1.0)
    values = np.array([[-1.0, 2.0, -3.0, 4.0]], "float32")
    np.testing.assert_array_equal(made.deployed()(values), [[0.0, 2.0, 0.0, 4.0]])


@pytest.mark.parametrize("gate", ["pooled", "recurrent"])
def test_a_file_runs_branches_only_if_asked(gate, tmp_path):
    made, path = skip_net(gate), tmp_path / "model.tflite"
    result = tfc.export_tflite(made.deployed(), path, samples=X)
    assert result.operations["IF"] == 3
    main, *branches = graphs(path)
    # The stem, the wider convolution and its shortcut.
    assert main.count("CONV_2D") == 3
    # Batch norm is folded, and the ReLU part of the addition.
    assert sorted(branches) == [[]] * 3 + [["CONV_2D", "CONV_2D", "ADD"]] * 3
    with tfc.Interpreter(path) as interpreter:
        outputs = interpreter.run(X)
    np.testing.assert_allclose(outputs, made.predict(X, verbose=0), atol=1e-5)


def test_branches_of_16_bits(tmp_path):
    made, path = skip_net("pooled"), tmp_path / "model.tflite"
    result = tfc.export_tflite(made.deployed(), path, "int16x8", samples=X)
    assert result.operations["IF"] == 3
    assert max(result.noise.values()) < 0.02


def test_integers_go_through_branches_and_keep_the_grids_of_kernels(tmp_path):
    path = tmp_path / "model.tflite"
    coarse = tfc.compress(
        skip_net().deployed(), {".*block.*_[ab]": tfc.transforms.Uniform(bits=2)}
    )
    result = tfc.export_tflite(coarse, path, "int8", samples=X)
    assert "DEQUANTIZE" not in result.operations and not result.float_operations
    assert max(result.noise.values()) < 0.1
    file = read(path.read_bytes())
    kernels = [
        file.buffers[graph.tensors[int(op.inputs[1])].buffer].data
        for graph in file.subgraphs[1:]
        for op in graph.operators
        if operation_name(file, op) == "CONV_2D"
    ]
    assert len(kernels) == 6
    assert all(len(np.unique(kernel.view("int8"))) <= 3 for kernel in kernels)


def test_files_of_keras_hold_it(tmp_path):
    deployed = skip_net().deployed()
    deployed.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(X), deployed(X))
