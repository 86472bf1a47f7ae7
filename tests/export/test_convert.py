import os

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import tfcompress as tfc
from tests import models
from tfcompress.core.nibbles import unpack_nibbles
from tfcompress.export import VerificationError, convert, export_tflite
from tfcompress.export.precisions import precision_of
from tfcompress.tflite.describe import describe
from tfcompress.tflite.operations import count_operations
from tfcompress.tflite.read import read
from tfcompress.transforms import (
    Binary,
    Codebook,
    LearnedStep,
    Mask,
    PowerOfTwo,
    Ternary,
    Uniform,
)

L = keras.layers


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.tflite"


@pytest.mark.parametrize("build", models.ALL, ids=lambda f: f.__name__)
def test_float32_computes_the_same(build, path):
    model = build()
    x = models.inputs(model, 8)
    result = export_tflite(model, path, samples=x)
    assert result.max_error <= 1e-5
    assert result.size_bytes == path.stat().st_size
    with tfc.Interpreter(path) as interpreter:
        np.testing.assert_allclose(interpreter.run(x), model(x), atol=1e-5)


@pytest.mark.parametrize("precision", ["float16", "dynamic", "int8", "int16x8", "int4"])
def test_every_precision(precision, path):
    model = models.sequential()
    result = export_tflite(model, path, precision, samples=models.inputs(model, 64))
    assert result.precision == precision
    assert result.mean_error < 0.35
    assert 0 <= result.top1_agreement <= 1
    if precision in ("int8", "int4"):
        assert result.float_operations == {}
        types = {int(t.type) for t in read(path.read_bytes()).subgraphs[0].tensors}
        assert 0 not in types, "a float32 tensor"


def test_precision_makes_files_smaller(tmp_path):
    model = keras.Sequential([keras.Input((256,)), L.Dense(256), L.Dense(10)])
    x = models.inputs(model, 16)
    sizes = [
        export_tflite(model, tmp_path / "m.tflite", p, samples=x).size_bytes
        for p in ("float32", "float16", "int8", "int4")
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] / sizes[2] > 3.5
    assert sizes[0] / sizes[3] > 6.5


def test_several_inputs_and_outputs_by_name(path):
    model = models.two_ports()
    generator = np.random.default_rng(0)
    x = {
        n: generator.normal(size=(16, k)).astype("float32")
        for n, k in (("a", 4), ("b", 3))
    }
    for precision in ("float32", "int8"):
        export_tflite(model, path, precision, samples=x)
        with tfc.Interpreter(path) as interpreter:
            outputs = interpreter.run(x)
        expected = model(x)
        assert set(outputs) == {"u", "v"}
        for name, array in outputs.items():
            np.testing.assert_allclose(
                array, expected[name], atol=1e-5 if precision == "float32" else 0.2
            )


def trained(transforms):
    x = keras.Input((12, 12, 3), name="image")
    y = L.Conv2D(8, 3, name="conv")(x)
    y = L.BatchNormalization(name="norm")(y)
    y = L.ReLU(name="relu")(y)
    y = L.DepthwiseConv2D(3, name="depthwise")(y)
    y = L.MaxPooling2D(name="maximum")(y)
    y = L.GlobalAveragePooling2D(name="pool")(y)
    y = L.Dense(16, activation="relu", name="hidden")(y)
    model = keras.Model(x, L.Dense(5, name="head")(y))
    model = tfc.quantize_activations(tfc.compress(model, {".*": transforms}))
    x = models.inputs(model, 64)
    # Four steps; compiling one takes longer.
    models.compile(model, run_eagerly=True)
    model.fit(x, models.classes(64), epochs=2, verbose=0)
    return model, x


def kernels_in(path):
    """Dequantized codes and codes of all weight tensors in a file, outputs first."""
    interpreter = tfc.Interpreter(path)._interpreter
    found = []
    for detail in interpreter.get_tensor_details():
        parameters = detail["quantization_parameters"]
        axis = parameters["quantized_dimension"]
        if len(parameters["scales"]) < 2 or detail["dtype"] != np.int8:
            continue
        codes = np.moveaxis(interpreter.get_tensor(detail["index"]), axis, 0)
        scales = parameters["scales"].reshape(-1, *[1] * (codes.ndim - 1))
        found.append((codes * scales, codes))
    return found


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
def test_int8_holds_exactly_the_trained_grid(bits, path):
    model, x = trained([Uniform(bits)])
    result = export_tflite(model, path, "int8", samples=x, profile="builtin")
    assert result.float_operations == {}
    levels = max(2 ** (bits - 1) - 1, 1)
    kernels = kernels_in(path)
    assert len(kernels) == 4
    for _, codes in kernels:
        assert np.abs(codes).max() == levels
    plain = tfc.strip(model)
    for name in ("hidden", "head"):
        trained_values = plain.get_layer(name).kernel.numpy().T
        (stored,) = [v for v, _ in kernels if v.shape == trained_values.shape]
        np.testing.assert_allclose(stored, trained_values, atol=1e-6)


def all_kernels_in(path):
    """Dequantized weights of every layer of a file, by shape, outputs first."""
    interpreter = tfc.Interpreter(path)._interpreter
    details = interpreter.get_tensor_details()
    found = {}
    for operation in interpreter._get_ops_details():
        if operation["op_name"] not in (
            "FULLY_CONNECTED",
            "CONV_2D",
            "DEPTHWISE_CONV_2D",
        ):
            continue
        detail = details[operation["inputs"][1]]
        parameters = detail["quantization_parameters"]
        axis = parameters["quantized_dimension"]
        codes = np.moveaxis(interpreter.get_tensor(detail["index"]), axis, 0)
        scales = parameters["scales"].reshape(-1, *[1] * (codes.ndim - 1))
        found[codes.shape] = codes * scales
    return found


def assert_holds(path, model):
    """Asserts that a file of `trained` has exactly the weights of the model.

    Those of convolutions have been multiplied by the scales of batch norm.
    """
    stored = all_kernels_in(path)
    plain = tfc.strip(model)
    for name in ("hidden", "head"):
        kernel = plain.get_layer(name).kernel.numpy().T
        np.testing.assert_allclose(stored[kernel.shape], kernel, atol=1e-6)
    kernel = np.moveaxis(plain.get_layer("conv").kernel.numpy(), -1, 0)
    found = stored[kernel.shape]
    factor = np.sum(found * kernel, (1, 2, 3)) / np.sum(kernel**2, (1, 2, 3))
    expected = kernel * factor.reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    kernel = np.moveaxis(plain.get_layer("depthwise").kernel.numpy(), -1, 0)[0]
    kernel = np.moveaxis(kernel, -1, 0)[:, None]
    np.testing.assert_allclose(stored[kernel.shape], kernel, atol=1e-6)


@pytest.mark.parametrize(
    "transform",
    [
        LearnedStep(4),
        LearnedStep(8),
        LearnedStep(4, per_channel=True),
        LearnedStep(8, per_channel=True),
        PowerOfTwo(4),
        PowerOfTwo(4, per_channel=True),
        Ternary(),
        Ternary(per_channel=True),
        Binary(),
        Binary("mean"),
    ],
    ids=repr,
)
def test_int8_holds_exactly_what_was_trained(transform, path):
    model, x = trained([transform])
    result = export_tflite(model, path, "int8", samples=x, profile="builtin")
    assert result.float_operations == {}
    assert_holds(path, model)
    with tfc.Interpreter(path) as interpreter:
        expected = tfc.strip(model)(x).numpy()
        atol = 0.04 * np.abs(expected).max()
        np.testing.assert_allclose(interpreter.run(x), expected, atol=atol)


@pytest.mark.parametrize("per_channel", [False, True])
def test_int8_holds_a_fine_learned_grid(per_channel, path):
    model, x = trained([LearnedStep(8, per_channel)])
    for _, treatment in tfc.core.compressed.treatments(model):
        (transform,) = treatment.transforms
        # The initial values leave most of the 127 levels unused.
        transform.step.assign(transform.step / 8)
        codes = treatment.bake() / transform.step.numpy()
        assert np.abs(codes).max() > 50
    export_tflite(model, path, "int8", samples=x)
    assert_holds(path, model)


@pytest.mark.parametrize("transform", [LearnedStep(4), Ternary()], ids=repr)
def test_int4_holds_exactly_what_was_trained(transform, path):
    model, x = trained([transform])
    export_tflite(model, path, "int4", samples=x, profile="builtin")
    assert_holds(path, model)
    kinds = describe(path).weight_bytes
    assert kinds["INT4"] == (27 * 8 + 8 * 16 + 16 * 5) / 2


def test_a_codebook_keeps_its_few_values_in_the_file(path):
    model, x = trained([Mask(), Codebook(6), Uniform(8)])
    export_tflite(model, path, "int8", samples=x)
    values = {
        t.ref.owners[0].name: t.bake() for _, t in tfc.core.compressed.treatments(model)
    }
    for name in ("hidden", "head"):
        (stored,) = [v for v, _ in kernels_in(path) if v.shape == values[name].T.shape]
        np.testing.assert_allclose(stored, values[name].T, atol=1e-6)


def test_int4_file_holds_the_trained_grid_in_half_the_bytes(tmp_path):
    model, x = trained([Uniform(4)])
    outputs = []
    for precision in ("int8", "int4"):
        path = tmp_path / f"{precision}.tflite"
        export_tflite(model, path, precision, samples=x, profile="builtin")
        with tfc.Interpreter(path) as interpreter:
            outputs.append(interpreter.run(x))
    # Their kernels round differently, by one or two steps of the output.
    np.testing.assert_allclose(*outputs, atol=0.005)
    kinds = describe(tmp_path / "int4.tflite").weight_bytes
    assert kinds["INT4"] == (27 * 8 + 8 * 16 + 16 * 5) / 2


def test_4_bit_convolutions_are_decoded_when_the_file_is_loaded(tmp_path):
    model = keras.Sequential(
        [keras.Input((8, 8, 4)), L.Conv2D(32, 3), L.Flatten(), L.Dense(4)]
    )
    x = models.inputs(model, 16)
    results, files = {}, {}
    for profile in ("builtin", "custom"):
        path = tmp_path / f"{profile}.tflite"
        results[profile] = export_tflite(model, path, "int4", x, profile)
        files[profile] = read(tfc.decode_tflite(path.read_bytes()))
    # A table of 16 values and how it is to be read; 1152 weights less 576 bytes.
    (constant,) = results["custom"].constants
    assert (constant.plain_bytes, constant.encoding) == (1152, "lut")
    assert 576 < constant.encoded_bytes <= 576 + 16 + 16
    assert "become int8 when the file is loaded" in results["custom"].notes[0]
    assert results["builtin"].notes == results["builtin"].constants == ()
    # The dense kernel stays as it is.
    kinds = describe(tmp_path / "custom.tflite").weight_bytes
    assert kinds["INT4"] == 6 * 6 * 32 * 4 / 2
    assert "INT8" not in kinds
    _assert_same_codes(files["builtin"], files["custom"])


def _assert_same_codes(four, eight):
    """An INT4 kernel with the codes and scales of an INT8 one, and nothing else."""
    kinds = []
    for a, b in zip(four.subgraphs[0].tensors, eight.subgraphs[0].tensors, strict=True):
        codes, expected = _constant(four, a), _constant(eight, b)
        if a.type != b.type:
            kinds.append((a.type, b.type))
            codes = unpack_nibbles(codes, len(expected)).tobytes()
        assert codes == expected
        if a.quantization:
            np.testing.assert_array_equal(a.quantization.scale, b.quantization.scale)
    assert kinds == [(schema.TensorType.INT4, schema.TensorType.INT8)]


def _constant(file, tensor):
    data = file.buffers[tensor.buffer].data
    return b"" if data is None else bytes(data)


def test_small_4_bit_convolutions_become_int8(path):
    model = keras.Sequential([keras.Input((8, 8, 2)), L.Conv2D(4, 3)])
    result = export_tflite(model, path, "int4", samples=models.inputs(model, 16))
    assert [constant.reason for constant in result.constants] == [
        "it would not be smaller"
    ]
    assert result.notes == ()
    assert describe(path).weight_bytes["INT8"] == 72


@pytest.mark.parametrize("names", ["keep", "short", "drop", None])
def test_names_of_inner_tensors(names, path):
    model = keras.Sequential([keras.Input((8,), name="x"), L.Dense(4), L.Dense(2)])
    export_tflite(model, path, names=names)
    graph = read(path.read_bytes()).subgraphs[0]
    ends = {*map(int, graph.inputs), *map(int, graph.outputs)}
    inner = [t.name for i, t in enumerate(graph.tensors) if i not in ends]
    if names == "drop":
        assert {*inner} == {None}
    elif names == "keep":
        assert any(b"/MatMul" in name for name in inner)
    else:
        # The output of the first layer; kernels and the bias that is there once.
        (layer,) = [name for name in inner if not name.isdigit()]
        assert layer.startswith(b"dense")
        assert b"/" not in layer
        assert {*inner} - {layer} == {b"%d" % i for i in range(1, len(inner))}


@pytest.mark.parametrize(
    "transform",
    [
        Uniform(12),
        Uniform(8, symmetric=False),
        Uniform(4, block_size=4),
        LearnedStep(9),
        PowerOfTwo(5),
    ],
    ids=repr,
)
def test_a_grid_that_int8_cannot_hold_is_refused(transform, path):
    model, x = trained([transform])
    with pytest.raises(ValueError, match=r"cannot hold.*tfc\.strip\(model\)"):
        export_tflite(model, path, "int8", samples=x)
    assert not path.exists()
    export_tflite(tfc.strip(model), path, "int8", samples=x)


def test_trained_ranges_do_not_fit_a_float_file(path):
    model, _ = trained([Uniform(8)])
    with pytest.raises(ValueError, match="trained 8-bit activation ranges"):
        export_tflite(model, path)


def test_mixed_precision_models_convert(path):
    keras.config.set_dtype_policy("mixed_float16")
    model = tfc.compress(models.sequential(), {".*": "uniform"})
    result = export_tflite(model, path, samples=models.inputs(model))
    assert result.max_error <= 1e-5


def narrow(layer):
    """A copy of a layer with an eighth of its filters."""
    config = layer.get_config()
    if "filters" in config:
        config["filters"] //= 8
    return type(layer).from_config(config)


@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50V2"])
def test_every_operation_of_known_networks_comes_out_int8(name, path):
    build = getattr(keras.applications, name)
    model = build(
        weights=None, input_shape=(32, 32, 3), classes=10, classifier_activation=None
    )
    model = keras.models.clone_model(model, clone_function=narrow)
    x = models.inputs(model, 8)
    result = export_tflite(model, path, "int8", samples=x, verify=False)
    assert result.float_operations == {}


def test_mobilenet_v2_trained_for_int8_comes_out_int8(path):
    whole = keras.applications.MobileNetV2(
        weights=None, input_shape=(32, 32, 3), include_top=False, alpha=0.35
    )
    # Blocks of every kind; the later ones are similar.
    y = L.GlobalAveragePooling2D()(whole.get_layer("block_4_add").output)
    model = keras.Model(whole.inputs, L.Dense(10, activation="softmax")(y))
    model = tfc.quantize_activations(tfc.compress(model, {".*": "uniform"}))
    x = models.inputs(model, 16)
    for _ in range(3):
        model(x, training=True)
    result = export_tflite(model, path, "int8", samples=x)
    assert result.float_operations == {}
    assert set(result.operations) <= {
        "CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "FULLY_CONNECTED", "SOFTMAX", "PAD",
        "RESHAPE",
    }  # fmt: skip


def test_batch_norm_without_a_convolution_before_it_comes_out_int8(path):
    x = keras.Input((8, 8, 3), name="x")
    y = L.Conv2D(4, 3)(x)
    y = L.MaxPooling2D()(y)
    y = L.ReLU()(L.BatchNormalization(name="norm")(y))
    y = L.Conv2D(4, 3, use_bias=False)(y)
    y = L.BatchNormalization()(y)
    model = tfc.quantize_activations(keras.Model(x, L.Flatten()(y)))
    samples = models.inputs(model, 32)
    for _ in range(5):
        model(samples, training=True)
    result = export_tflite(model, path, "int8", samples=samples)
    assert result.float_operations == {}
    assert result.operations["DEPTHWISE_CONV_2D"] == 1
    assert result.operations["CONV_2D"] == 2


def test_what_stays_float_is_said(path):
    x = keras.Input((8,))
    y = keras.ops.floor(L.Dense(8)(x))
    model = keras.Model(x, L.Dense(2)(y))
    result = export_tflite(model, path, "int8", samples=models.inputs(model, 16))
    assert result.float_operations
    assert all(reason for _, reason in result.float_operations.values())
    assert "stayed float" in str(result)


def test_inputs_keep_their_places_whatever_their_names(path):
    late, early = keras.Input((4,), name="z"), keras.Input((4,), name="a")
    model = keras.Model([late, early], keras.layers.Dense(2)(late - 2 * early))
    tfc.export_tflite(model, path)
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    with tfc.Interpreter(path) as interpreter:
        found = interpreter.run({"z": x[0], "a": x[1]})
    np.testing.assert_allclose(found, model([x[0], x[1]]), atol=1e-5)


def test_an_input_without_a_name_keeps_the_one_that_keras_gives(path):
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, L.Conv2D(4, 3, name="conv")(x))
    export_tflite(model, path, "int4", samples=models.inputs(model, 8))
    with tfc.Interpreter(path) as interpreter:
        assert list(interpreter.input_details) == [model.layers[0].name]


def test_inputs_and_outputs_have_the_layers_names(path):
    model = models.sequential()
    export_tflite(model, path)
    with tfc.Interpreter(path) as interpreter:
        assert list(interpreter.input_details) == ["image"]
        assert list(interpreter.output_details) == ["head"]


def test_an_operation_that_no_runtime_knows(path):
    x = keras.Input((8,))
    model = keras.Model(x, L.Dense(2)(keras.ops.erfinv(L.Dense(8)(x))))
    for precision in ("float32", "int8"):
        with pytest.raises(ValueError, match="Erfinv"):
            export_tflite(model, path, precision, samples=models.inputs(model, 16))
    assert not path.exists()


def test_a_wrong_file_is_not_kept(path, monkeypatch):
    path.write_bytes(b"earlier")
    model = models.sequential()
    other = models.sequential()
    other.get_layer("head").bias.assign(np.full(5, 9.0))
    converted = convert.convert(other, precision_of("float32"))
    monkeypatch.setattr(convert, "convert", lambda *_: converted)
    with pytest.raises(VerificationError, match="largest error"):
        export_tflite(model, path, samples=models.inputs(model))
    assert path.read_bytes() == b"earlier"
    assert os.listdir(path.parent) == ["model.tflite"]


def test_builtin_profile_has_no_custom_operation(path):
    result = export_tflite(models.residual(), path, profile="builtin")
    assert result.operations == count_operations(path.read_bytes())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "int7"}, "expected 'float32'"),
        ({"profile": "fast"}, "expected 'custom' or 'builtin'"),
        ({"precision": "int8"}, "needs samples"),
        ({"samples": np.zeros((4, 8, 8))}, r"expected \(count, 8, 8, 3\)"),
        ({"samples": np.zeros((0, 8, 8, 3))}, r"shape \(0, 8, 8, 3\).*expected"),
        ({"samples": np.full((4, 8, 8, 3), np.nan)}, "768 NaN"),
        ({"samples": np.full((4, 8, 8, 3), "x")}, "dtype object.*expected .* numbers"),
        ({"samples": {"picture": np.zeros((4, 8, 8, 3))}}, "picture"),
    ],
)
def test_bad_arguments(arguments, message, path):
    with pytest.raises(ValueError, match=message):
        export_tflite(models.sequential(), path, **arguments)
    assert not path.exists()


def test_unwritable_paths(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        export_tflite(models.sequential(), tmp_path / "no" / "m.tflite")
    with pytest.raises(ValueError, match="is a folder"):
        export_tflite(models.sequential(), tmp_path)


def test_nan_weights(path):
    model = models.sequential()
    model.get_layer("head").bias.assign(np.full(5, np.nan))
    with pytest.raises(ValueError, match="5 NaN"):
        export_tflite(model, path)


def test_unknown_sizes(path):
    x = keras.Input((None, 4), name="x")
    with pytest.raises(ValueError, match="unknown sizes"):
        export_tflite(keras.Model(x, L.Dense(2)(x)), path)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_weights_of_large_models_are_not_constants(
    precision, tmp_path, monkeypatch
):
    model = models.residual()
    x = models.inputs(model, 32)
    files = []
    for limit in (2**40, 0):
        monkeypatch.setattr("tfcompress.export.trace._MOST_CONSTANT_BYTES", limit)
        path = tmp_path / f"{limit}.tflite"
        tfc.export_tflite(model, path, precision, samples=x)
        with tfc.Interpreter(path) as interpreter:
            files.append(interpreter.run(x))
    np.testing.assert_allclose(*files, atol=1e-6)


def test_reversed_sequences_keep_their_scale(tmp_path):
    keras.utils.set_random_seed(0)
    x = keras.Input((5, 4))
    lstms = [keras.layers.LSTM(3, return_sequences=True) for _ in range(3)]
    # Random weights: not all of them reveal the error.
    model = keras.Model(x, [keras.layers.Bidirectional(lstm)(x) for lstm in lstms])
    samples = models.inputs(model, 64)
    tfc.export_tflite(model, tmp_path / "m.tflite", "int8", samples=samples)


def test_recurrent_layers_are_calibrated(tmp_path):
    keras.utils.set_random_seed(0)
    x = keras.Input((5, 4))
    lstm = keras.layers.LSTM(3, return_sequences=True)(x)
    model = keras.Model(x, keras.layers.GRU(3)(lstm))
    samples = models.inputs(model, 32)
    result = tfc.export_tflite(model, tmp_path / "m.tflite", "int8", samples=samples)
    assert not result.float_operations
    assert "FULLY_CONNECTED" in result.operations


@pytest.mark.parametrize(
    ("layer", "shape", "operation"),
    [
        (keras.layers.Conv1D(16, 5), (12, 16), None),
        (keras.layers.Conv2DTranspose(16, 2), (6, 6, 16), "TRANSPOSE_CONV"),
        (keras.layers.SeparableConv2D(16, 3), (6, 6, 16), "DEPTHWISE_CONV_2D"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_int4_says_which_kernels_stay_at_8_bits(layer, shape, operation, path):
    model = keras.Sequential([keras.Input(shape), layer])
    x = models.inputs(model, 16)
    result = tfc.export_tflite(model, path, "int4", samples=x, profile="builtin")
    whole = tfc.export_tflite(model, path, "int8", samples=x)
    if operation is None:
        assert result.notes == ()
        assert result.size_bytes < whole.size_bytes - 0.4 * model.count_params()
        return
    assert any(
        f"kernels of 1 {operation}" in note and "stayed at 8 bits" in note
        for note in result.notes
    )
    assert operation in str(result)
    assert whole.notes == ()
