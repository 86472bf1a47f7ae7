import dataclasses
import json

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.cli.main import run
from tfcompress.export import export_tflite
from tfcompress.pruning.patterns import Block, NOfM, Weight
from tfcompress.tflite.claims import check_tensors
from tfcompress.tflite.describe import describe
from tfcompress.tflite.operations import count_macs, count_parameters
from tfcompress.tflite.read import read, write

L = keras.layers
COSTS = tfc.runtime.SparseCosts(
    "a server with AVX-512", {2**18: 0.05, 2**20: 0.122}, {4: 1.25, 1: 1.0}, output=3.0
)


@pytest.fixture(autouse=True)
def _costs(monkeypatch):
    monkeypatch.setattr(tfc.runtime.SparseCosts, "of_host", lambda: COSTS)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.tflite"


def prune(layer, pattern, sparsity=0.0):
    """Sets the kernel of a layer to random weights with the zeros of a pattern."""
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=layer.kernel.shape) / np.sqrt(layer.kernel.shape[-2])
    scores = pattern.pool(np.abs(kernel))
    num_kept = round(scores.size * (1 - sparsity))
    if isinstance(pattern, NOfM):
        kept = pattern.select(scores, 1)
    else:
        kept = np.zeros(scores.size, bool)
        kept[np.argsort(-scores, axis=None)[:num_kept]] = True
        kept = kept.reshape(scores.shape)
    layer.kernel.assign(kernel * pattern.spread(kept, kernel.shape))


def perceptron(*units, inputs=512):
    layers = [
        L.Dense(n, activation="relu", name=f"dense{i}") for i, n in enumerate(units)
    ]
    model = keras.Sequential([keras.Input((inputs,)), *layers])
    for layer in layers:
        layer.bias.assign(np.random.default_rng(1).normal(size=layer.units))
    return model


def check_outputs(model, path, atol=1e-5):
    """Outputs differ from Keras's by no more than a fraction of the largest."""
    shape = (8, *model.input_shape[1:])
    x = np.random.default_rng(2).normal(size=shape).astype("float32")
    expected = model.predict(x, verbose=0)
    with tfc.Interpreter(path) as interpreter:
        difference = np.abs(interpreter.run(x) - expected).max()
    assert difference <= atol * np.abs(expected).max()


def stored(path):
    """`{shape: (block, operation version)}` of the kernels that run sparse."""
    file = read(path.read_bytes())
    graph = file.subgraphs[0]
    found = {}
    for operation in graph.operators:
        weight = (
            graph.tensors[operation.inputs[1]] if len(operation.inputs) > 1 else None
        )
        if weight is not None and weight.sparsity:
            version = file.operatorCodes[operation.opcodeIndex].version
            block = 1 if weight.sparsity.blockMap is None else 4
            found[tuple(weight.shape)] = block, version
    return found


def test_blocks_of_4_are_stored_and_run_sparse_and_the_dense_layer_is_not(path):
    model = perceptron(512, 256)
    dense = export_tflite(model, path).size_bytes
    assert stored(path) == {}
    prune(model.layers[0], Block(4, 1), 0.9)
    result = export_tflite(model, path)
    assert stored(path) == {(512, 512): (4, 8)}
    check_outputs(model, path)
    kernel_bytes = 4 * 512 * 512
    # 6554 blocks of 16 bytes with an index of 1 byte, 513 segments of 2 bytes.
    assert dense - result.size_bytes == pytest.approx(
        kernel_bytes - 6554 * 17 - 513 * 2, abs=500
    )
    (kernel,) = result.sparsity
    assert (kernel.name, kernel.shape) == ("dense0/kernel", (512, 512))
    assert (kernel.block, kernel.unpacked, kernel.reason) == (4, False, None)
    assert kernel.density == pytest.approx(0.1, abs=1e-4)
    assert "runs sparse: dense0/kernel (blocks of 4, 90.0% zeros)" in str(result)
    # The dense layer keeps its own operation version, which XNNPACK takes.
    assert len(read(path.read_bytes()).operatorCodes) == 2


def test_reading_back_counts_the_zeros_too(path, capsys):
    model = perceptron(512, 256)
    export_tflite(model, path)
    parameters, macs = (
        count_parameters(path.read_bytes()),
        count_macs(path.read_bytes()),
    )
    prune(model.layers[0], Block(4, 1), 0.9)
    result = export_tflite(model, path)
    assert count_macs(path.read_bytes()) == macs
    total, nonzero = count_parameters(path.read_bytes())
    assert total == parameters[0]
    assert nonzero == parameters[1] - 512 * 512 + 6554 * 4
    description = describe(path)
    ((_, shape, block, density),) = description.sparse_weights
    assert (shape, block) == ([512, 512], [1, 4])
    assert density == result.sparsity[0].density
    assert description.weight_bytes["INDICES"] == 6554 + 2 * 513
    assert run(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sparse_weights"][0][2] == [1, 4]
    assert "512x512 in blocks of 1x4, 90.0% zeros" in str(description)


@pytest.mark.parametrize(
    ("units", "pattern", "sparsity", "block"),
    [
        (512, Block(4, 1), 0.9, 4),
        (512, Block(4, 4), 0.9, 4),
        (512, Block(16, 1), 0.9, 4),
        (512, Block(4, 1), 0.8, None),
        (2048, Block(4, 1), 0.7, 4),
        (2048, Weight(), 0.9, 1),
        (2048, NOfM(2, 4), 0.5, None),
        (64, Block(4, 1), 0.9, 4),
        (64, Weight(), 0.9, None),
    ],
)
def test_only_layers_that_get_faster_are_sparse(units, pattern, sparsity, block, path):
    model = perceptron(units)
    prune(model.layers[0], pattern, sparsity)
    (kernel,) = export_tflite(model, path).sparsity
    assert kernel.block == block
    assert stored(path) == ({(units, 512): (block, 8)} if block else {})
    assert (kernel.reason is None) == (block is not None)
    check_outputs(model, path)


def test_costs_of_another_machine(path):
    model = perceptron(512)
    prune(model.layers[0], Block(4, 1), 0.9)
    slow = dataclasses.replace(COSTS, blocks={4: 5.0, 1: 5.0})
    (kernel,) = export_tflite(model, path, sparse=slow).sparsity
    assert kernel.block is None
    assert "dense kernel is faster" in kernel.reason


def test_small_layers_stay_dense(path):
    model = perceptron(64, inputs=64)
    prune(model.layers[0], Block(4, 1), 0.98)
    (kernel,) = export_tflite(model, path).sparsity
    assert kernel.block is None
    assert "dense kernel is faster at this size" in kernel.reason


def test_inputs_that_4_does_not_divide(path):
    model = perceptron(512, inputs=511)
    prune(model.layers[0], Block(4, 1), 0.9)
    (kernel,) = export_tflite(model, path).sparsity
    assert kernel.block is None
    assert "blocks of 4 do not fit" in kernel.reason
    prune(model.layers[0], Block(4, 1), 0.98)
    (kernel,) = export_tflite(model, path).sparsity
    assert kernel.block == 1
    check_outputs(model, path)


def test_rows_and_columns_of_zeros(path):
    model = perceptron(512)
    kernel = np.zeros((512, 512), "float32")
    kernel[4:8, 3:9] = 1
    model.layers[0].kernel.assign(kernel)
    (found,) = export_tflite(model, path).sparsity
    assert found.block == 4
    check_outputs(model, path)


def test_a_layer_on_a_sequence_stays_dense(path):
    model = keras.Sequential([keras.Input((8, 512)), L.Dense(512, name="dense")])
    prune(model.layers[0], Block(4, 1), 0.95)
    (kernel,) = export_tflite(model, path).sparsity
    assert stored(path) == {}
    assert "many rows" in kernel.reason


def test_a_shared_layer_is_sparse_wherever_it_is_called(path):
    x = keras.Input((512,))
    layer = L.Dense(512, activation="relu", name="dense")
    model = keras.Model(x, layer(layer(x)))
    prune(layer, Block(4, 1), 0.9)
    (kernel,) = export_tflite(model, path).sparsity
    assert kernel.block == 4
    file = read(path.read_bytes())
    codes = {operation.opcodeIndex for operation in file.subgraphs[0].operators}
    assert [file.operatorCodes[code].version for code in codes] == [8]
    check_outputs(model, path)


def test_a_recurrent_layer_sees_one_row_at_a_time(path):
    model = keras.Sequential([keras.Input((3, 16)), L.GRU(384, name="gru")])
    cell = model.layers[0].cell
    mask = np.random.default_rng(0).random((96, 3 * 384)) < 0.1
    kernel = cell.recurrent_kernel
    kernel.assign(kernel.numpy() * mask.repeat(4, axis=0))
    (found,) = export_tflite(model, path).sparsity
    assert (found.name, found.block) == ("gru/gru_cell/recurrent_kernel", 4)
    check_outputs(model, path)


def test_a_folded_batch_norm_keeps_the_weights_name(path):
    model = keras.Sequential(
        [
            keras.Input((512,)),
            L.Dense(512, name="dense"),
            L.BatchNormalization(name="norm"),
            L.Dense(4, name="head"),
        ]
    )
    model.get_layer("norm").gamma.assign(np.linspace(0.5, 2, 512))
    prune(model.get_layer("dense"), Block(4, 1), 0.9)
    (kernel,) = export_tflite(model, path).sparsity
    assert (kernel.name, kernel.block) == ("dense/kernel", 4)
    check_outputs(model, path)


def convolutional():
    layers = [
        keras.Input((8, 8, 8)),
        L.Conv2D(32, 3, activation="relu", name="conv"),
        L.Conv2D(64, 1, name="pointwise"),
        L.GlobalAveragePooling2D(),
        L.Dense(512, name="hidden"),
        L.Dense(512, name="head"),
    ]
    model = keras.Sequential(layers)
    prune(model.get_layer("conv"), Weight(), 0.9)
    prune(model.get_layer("pointwise"), Block(4, 1), 0.8)
    prune(model.get_layer("hidden"), NOfM(2, 4))
    prune(model.get_layer("head"), Block(4, 1), 0.9)
    return model


def test_always_stores_what_cannot_run_sparse_and_unpacks_it(path):
    model = convolutional()
    automatic = export_tflite(model, path)
    assert {k.name: k.block for k in automatic.sparsity} == {
        "conv/kernel": None,
        "pointwise/kernel": None,
        "hidden/kernel": None,
        "head/kernel": 4,
    }
    check_outputs(model, path)
    counts = count_parameters(path.read_bytes())
    result = export_tflite(model, path, sparse="always")
    assert {k.name: (k.block, k.unpacked) for k in result.sparsity} == {
        "conv/kernel": (1, True),
        "pointwise/kernel": (4, True),
        "hidden/kernel": (1, True),
        "head/kernel": (4, False),
    }
    assert result.operations["DENSIFY"] == 3
    assert result.size_bytes < automatic.size_bytes
    assert "unpacked when loaded: hidden/kernel" in str(result)
    check_outputs(model, path)
    assert count_parameters(path.read_bytes()) == counts
    blocks = {tuple(block) for _, _, block, _ in describe(path).sparse_weights}
    assert blocks == {(1, 1), (1, 4), (1, 1, 1, 1), (1, 1, 1, 4)}


def test_never(path):
    model = perceptron(512)
    prune(model.layers[0], Block(4, 1), 0.9)
    result = export_tflite(model, path, sparse="never")
    assert stored(path) == {}
    assert "zeros unused: dense0/kernel (90.0% zeros)" in str(result)
    assert result.size_bytes > 4 * 512 * 512
    with pytest.raises(ValueError, match="'auto', 'always' or 'never'"):
        export_tflite(model, path, sparse="sometimes")


@pytest.mark.parametrize("precision", ["float16", "dynamic", "int8", "int16x8", "int4"])
def test_other_precisions_do_not_use_zeros_and_say_so(precision, path):
    model = perceptron(512, 8)
    prune(model.layers[0], Block(4, 1), 0.9)
    x = np.random.default_rng(0).normal(size=(32, 512)).astype("float32")
    result = export_tflite(model, path, precision, samples=x, sparse="always")
    assert describe(path).sparse_weights == []
    (kernel,) = result.sparsity
    assert (kernel.name, kernel.block, kernel.shape) == (
        "dense0/kernel",
        None,
        (512, 512),
    )
    assert "sparse" in kernel.reason or "blocks" in kernel.reason
    assert "zeros unused: dense0/kernel (90.0% zeros): LiteRT" in str(result)


def test_convert_command(path, tmp_path, capsys):
    model = perceptron(512)
    prune(model.layers[0], Block(4, 1), 0.9)
    model.save(tmp_path / "model.keras")
    assert run(["convert", str(tmp_path / "model.keras"), str(path), "--json"]) == 0
    (kernel,) = json.loads(capsys.readouterr().out)["sparsity"]
    assert (kernel["block"], kernel["shape"]) == (4, [512, 512])
    arguments = ["convert", str(tmp_path / "model.keras"), str(path), "--sparse=never"]
    assert run(arguments) == 0
    assert "zeros unused" in capsys.readouterr().out


def test_nothing_is_said_of_a_dense_model(path):
    result = export_tflite(perceptron(16), path)
    assert result.sparsity == ()
    assert "zeros" not in str(result)


def test_pruning_in_blocks_reaches_the_file(path):
    model = tfc.compress(perceptron(512, 8), {"dense0": tfc.transforms.Mask()})
    model.compile("sgd", "mse")
    pruning = tfc.callbacks.Pruning(tfc.schedules.Constant(0.9), pattern=Block(4, 1))
    x = np.random.default_rng(0).normal(size=(32, 512)).astype("float32")
    model.fit(x, np.zeros((32, 8)), verbose=0, callbacks=[pruning])
    (kernel,) = export_tflite(model, path).sparsity
    assert (kernel.name, kernel.block) == ("dense0/kernel", 4)
    check_outputs(tfc.strip(model), path)


def test_a_codec_gets_the_kernels_that_it_makes_smaller(path):
    keras.utils.set_random_seed(0)
    model = perceptron(512, 10)
    first = model.layers[0]
    prune(first, Block(4, 1), 0.9)
    few = np.sign(first.kernel.numpy()) * np.float32(0.25)
    sparse = export_tflite(model, path, codec="auto").sparsity[0]
    # Its values are all different, so no codec takes them.
    assert sparse.block == 4
    first.kernel.assign(few)
    result = export_tflite(model, path, codec="auto")
    check_outputs(model, path)
    assert result.sparsity[0].block is None
    assert result.sparsity[0].reason == "codec='auto' makes the file smaller"
    assert result.size_bytes < 0.5 * export_tflite(model, path).size_bytes


@pytest.mark.parametrize(
    "damage",
    [
        lambda axis: axis.arrayIndices.values.__setitem__(0, 200),
        lambda axis: axis.arraySegments.values.__setitem__(1, 200),
        lambda axis: axis.arraySegments.values.__setitem__(-1, 1),
        lambda axis: setattr(axis, "arraySegments", None),
        lambda axis: setattr(axis.arrayIndices, "values", axis.arrayIndices.values[1:]),
    ],
)
def test_indices_that_do_not_fit_are_refused_before_litert_follows_them(path, damage):
    model = perceptron(64, 16, inputs=128)
    export_tflite(tfc.strip(tfc.prune(model, 0.9)), path, sparse="always")
    file = read(path.read_bytes())
    (sparse, *_) = [t for t in file.subgraphs[0].tensors if t.sparsity]
    for axis in sparse.sparsity.dimMetadata:
        for vector in filter(None, (axis.arraySegments, axis.arrayIndices)):
            vector.values = np.array(vector.values)
    check_tensors(write(file))
    damage(next(a for a in sparse.sparsity.dimMetadata if a.arrayIndices))
    with pytest.raises(ValueError, match="contradicts itself"):
        tfc.Interpreter(write(file))
