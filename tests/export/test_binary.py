"""Binary layers as custom operations: what is found, folded, written and run."""

import keras
import numpy as np
import pytest
from flatbuffers import flexbuffers

import tfcompress as tfc
from tests import models
from tfcompress import native
from tfcompress.export.binary import with_binary_operations
from tfcompress.export.convert import convert
from tfcompress.export.precisions import precision_of
from tfcompress.tflite.describe import describe
from tfcompress.tflite.operations import operation_name
from tfcompress.tflite.read import read
from tfcompress.transforms import Binary, Ternary

L = keras.layers
FLOAT32, INT32, INT8 = 0, 2, 9


def sign():
    return tfc.layers.QuantizedActivation("sign")


def mlp():
    return keras.Sequential(
        [
            keras.Input((40,)),
            L.Dense(70, name="b0"),
            L.BatchNormalization(),
            sign(),
            L.Dense(33, use_bias=False, name="b1"),
            L.BatchNormalization(),
            sign(),
            L.Dropout(0.1),
            L.Dense(9, activation="relu", name="b2"),
        ]
    )


def cnn():
    """Pooling before and after batch norm, PReLU, and signs that are flattened."""
    return keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            L.Conv2D(16, 3, strides=2, padding="same", name="stem"),
            L.BatchNormalization(),
            sign(),
            L.Conv2D(40, 3, padding="same", name="b1"),
            L.BatchNormalization(),
            sign(),
            L.MaxPooling2D(2, 1, padding="same"),
            L.Conv2D(24, 3, name="b2"),
            L.MaxPooling2D(2),
            L.BatchNormalization(name="rising"),
            L.ReLU(max_value=3.0),
            L.Rescaling(1.0, offset=-1.0),
            sign(),
            L.Conv2D(16, 1, activation="tanh", name="b3"),
            L.PReLU(shared_axes=[1, 2]),
            L.BatchNormalization(),
            sign(),
            L.Flatten(),
            L.Dense(32, name="b4"),
            L.BatchNormalization(),
            sign(),
            L.Dense(10, name="b5"),
            L.BatchNormalization(),
            L.Softmax(),
        ]
    )


def shortcuts():
    """As in Bi-Real nets: sums of values, whose signs are convolved."""
    x = inputs = keras.Input((8, 8, 3), name="image-1")
    x = L.Conv2D(16, 3, padding="same", name="stem")(x)
    for i in range(2):
        y = sign()(x)
        y = L.Conv2D(16, 3, padding="same", use_bias=False, name=f"b{i}")(y)
        x = L.Add()([x, L.BatchNormalization()(y)])
    y = sign()(x)
    y = L.Conv2D(8, 3, dilation_rate=2, name="b2")(y)
    x = L.GlobalAveragePooling2D()(L.ReLU()(y))
    return keras.Model(inputs, L.Dense(4, name="head")(x))


def trained(build, transform=None, seed=0):
    """A stripped model with batch norm of both signs, and inputs."""
    keras.utils.set_random_seed(seed)
    model = build()
    generator = np.random.default_rng(seed)
    for layer in model._flatten_layers():
        if isinstance(layer, L.BatchNormalization):
            low = 0.2 if layer.name == "rising" else -1.0
            layer.gamma.assign(generator.uniform(low, 1.0, layer.gamma.shape))
            layer.beta.assign(generator.normal(size=layer.beta.shape))
            layer.moving_mean.assign(generator.normal(0, 3, layer.beta.shape))
            layer.moving_variance.assign(generator.uniform(1, 9, layer.beta.shape))
        if isinstance(layer, L.PReLU):
            layer.alpha.assign(generator.uniform(0, 0.4, layer.alpha.shape))
    model = tfc.strip(tfc.compress(model, {"b.": transform or Binary("mean")}))
    x = generator.normal(size=(32, *model.input_shape[1:])).astype("float32")
    return model, x


def operations(content):
    """`[(name, type of the first input, type of the output)]`."""
    file = read(content)
    (graph,) = file.subgraphs
    return [
        (
            operation_name(file, op),
            graph.tensors[op.inputs[0]].type,
            graph.tensors[op.outputs[0]].type,
        )
        for op in graph.operators
    ]


def binary_operations(content):
    return [op for op in operations(content) if op[0].startswith("tfc.")]


WRITTEN = [
    (
        mlp,
        Binary(),
        [
            ("tfc.BDense", FLOAT32, FLOAT32),
            ("tfc.BDense", FLOAT32, INT32),
            ("tfc.BDense", INT32, FLOAT32),
        ],
    ),
    *(
        (
            cnn,
            transform,
            [
                ("tfc.BConv2D", FLOAT32, INT32),
                ("tfc.BMaxPool2D", INT32, INT32),
                ("tfc.BConv2D", INT32, INT32),
                ("tfc.BMaxPool2D", INT32, INT32),
                ("tfc.BConv2D", INT32, INT32),
                ("tfc.BDense", INT32, INT32),
                ("tfc.BDense", INT32, FLOAT32),
            ],
        )
        for transform in (Binary("mean"), Ternary(per_channel=True))
    ),
    (shortcuts, Binary("mean"), [("tfc.BConv2D", FLOAT32, FLOAT32)] * 3),
]


@pytest.mark.parametrize(
    ("build", "transform", "expected"),
    WRITTEN,
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_files_compute_what_keras_computes(build, transform, expected, tmp_path):
    model, x = trained(build, transform)
    rewritten, layers = with_binary_operations(model)
    scale = np.abs(model(x)).max()
    np.testing.assert_allclose(rewritten(x), model(x), atol=1e-5 * scale)
    result = tfc.export_tflite(model, tmp_path / "m.tflite", samples=x)
    assert result.max_error <= 1e-4 * scale
    assert binary_operations((tmp_path / "m.tflite").read_bytes()) == expected
    assert [layer.operation for layer in result.binary] == [
        name for name, *_ in expected if "Pool" not in name
    ]
    assert result.binary == layers
    # Only bits pass between two binary layers.
    for layer in layers:
        assert (layer.input, layer.output) != ("values", "bits")
    assert "binary: tfc.B" in str(result)


def test_half_and_dynamic_files_round_no_binary_layer(tmp_path):
    model, x = trained(mlp, Binary())
    for precision in ("float16", "dynamic"):
        result = tfc.export_tflite(model, tmp_path / "m.tflite", precision, samples=x)
        assert result.max_error == 0
        assert set(result.operations) <= {"tfc.BDense", "RELU"}


@pytest.mark.parametrize("build", [mlp, shortcuts])
@pytest.mark.parametrize("is_trained", [True, False])
def test_int8_files_hold_no_float_tensor_but_factors(build, is_trained, tmp_path):
    model, x = trained(build)
    if is_trained:
        model = tfc.quantize_activations(model, samples=x)
    result = tfc.export_tflite(model, tmp_path / "m.tflite", "int8", samples=x)
    content = (tmp_path / "m.tflite").read_bytes()
    assert result.float_operations == {}
    for name, reads, writes in operations(content):
        assert FLOAT32 not in (reads, writes), name
        assert name not in ("QUANTIZE", "DEQUANTIZE")
    assert sum(layer.operation is not None for layer in result.binary) == 3
    if is_trained:
        # The ranges are in the Keras model too: some steps of an output differ.
        with tfc.Interpreter(content) as interpreter:
            (detail,) = interpreter.output_details.values()
        assert result.mean_error <= detail["quantization"][0]


def test_signs_with_ranges_have_levels_of_their_own():
    model = keras.Sequential([keras.Input((8,)), sign(), L.Dense(2)])
    model = tfc.quantize_activations(model, samples=np.ones((2, 8), "float32"))
    signs = model.layers[3](np.array([-1.0, 0.0, 1.0], "float32"))
    np.testing.assert_array_equal(signs, [-1, 0, 1])


def test_files_are_32_times_smaller(tmp_path):
    model = keras.Sequential(
        [keras.Input((1024,)), sign(), L.Dense(1024, use_bias=False, name="b0")]
    )
    model = tfc.strip(tfc.compress(model, {"b0": Binary()}))
    result = tfc.export_tflite(model, tmp_path / "m.tflite", verify=False)
    assert result.size_bytes <= 4 * 1024**2 / 32 + 8 * 1024 + 2000
    description = describe(tmp_path / "m.tflite")
    assert description.parameters - 2 * 1024 == description.macs == 1024**2
    assert description.binary_macs == 1024**2
    assert f"{1024**2:,} of them on bits" in str(description)
    encoded = tfc.export_tflite(model, tmp_path / "m.tflite", codec="auto")
    assert encoded.max_error == 0
    reasons = {constant.reason for constant in encoded.constants}
    assert reasons == {"a binary operation reads it as it is"}


def test_relu_of_sums_and_the_batch_norm_behind_it_are_the_operations(tmp_path):
    image = keras.Input((6, 6, 8))
    x = L.Conv2D(8, 3, use_bias=False, activation="relu", name="b0")(sign()(image))
    x = L.BatchNormalization()(x)
    x = L.Conv2D(8, 3, use_bias=False, name="b1")(sign()(x))
    x = L.BatchNormalization(name="out")(L.ReLU()(x))
    model, x = trained(lambda: keras.Model(image, x))
    for precision in ("float32", "int8"):
        result = tfc.export_tflite(model, tmp_path / "m.tflite", precision, x)
        assert result.operations == {"tfc.BConv2D": 2}
    # A bias comes before ReLU, and the operation's after it.
    dense = keras.Sequential(
        [keras.Input((32,)), sign(), L.Dense(8, activation="relu", name="b0")]
    )
    dense.layers[-1].bias.assign(np.arange(8) - 4.0)
    model, x = trained(lambda: dense)
    result = tfc.export_tflite(model, tmp_path / "m.tflite", samples=x)
    assert result.operations == {"tfc.BDense": 1, "RELU": 1}


def test_a_codec_packs_weights_that_meet_real_values(tmp_path):
    model = keras.Sequential(
        [keras.Input((10, 10, 16)), L.Conv2D(64, 3, use_bias=False, name="b0")]
    )
    model = tfc.strip(tfc.compress(model, {"b0": Binary()}))
    x = np.random.default_rng(0).normal(size=(8, 10, 10, 16)).astype("float32")
    path = tmp_path / "m.tflite"
    for precision in ("float32", "int8"):
        assert "tfc.BConv2D" in tfc.export_tflite(model, path, precision, x).operations
        result = tfc.export_tflite(model, path, precision, x, codec="lut")
        assert result.operations == {"TFLM_DECODE": 1, "CONV_2D": 1}
        assert result.size_bytes < 9 * 16 * 64 / 8 + 3000
        assert "b0" in str(result) and "a codec packs its weights" in str(result)


def test_builtin_operations_only(tmp_path):
    model, x = trained(mlp)
    for precision in ("float32", "int8"):
        result = tfc.export_tflite(
            model, tmp_path / "m.tflite", precision, x, profile="builtin"
        )
        assert not any(name.startswith("tfc") for name in result.operations)
        assert {layer.operation for layer in result.binary} == {None}
    assert "stays ordinary: profile='builtin': b0, b1, b2" in str(result)
    result = tfc.export_tflite(model, tmp_path / "m.tflite", "int4", x)
    assert {layer.operation for layer in result.binary} == {None}


def test_what_stays_ordinary_is_said():
    x = keras.Input((6, 6, 8))
    shared = L.Conv2D(8, 3, padding="same", name="b0")
    y = sign()(shared(shared(sign()(x))))
    y = sign()(L.Conv2D(8, 3, groups=4, name="b1")(y))
    signs = sign()(L.Conv2D(8, 3, name="b2")(y))
    y = L.Activation("gelu")(L.Conv2D(4, 1, name="b3")(signs))
    y = L.Rescaling(1.0, 0.1)(y)
    y = L.Conv2D(8, 3, padding="same", name="b4")(sign()(y))
    y = L.DepthwiseConv2D(3, padding="same", name="b5")(y)
    inner = keras.Sequential([L.TimeDistributed(L.Dense(4, name="b6"))], name="inner")
    model = keras.Model(x, [inner(y), signs])
    model = tfc.strip(tfc.compress(model, {"b.": Binary()}))
    rewritten, layers = with_binary_operations(model)
    assert {layer.name: layer.reason for layer in layers} == {
        "b0": "it is called several times",
        "b1": "its channels are in groups",
        "b2": "not only binary layers read its signs",
        "b3": "4 of 4 channels are not monotone",
        "b4": None,
        "b5": "there is no binary operation for DepthwiseConv2D",
        "b6": "it is inside another layer",
    }
    assert [layer.input for layer in layers if layer.operation] == ["signs"] * 3
    x = models.inputs(model, 4)
    for expected, found in zip(model(x), rewritten(x), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


class Subclassed(keras.Model):
    def __init__(self, num_outputs=1, **kwargs):
        super().__init__(**kwargs)
        self.num_outputs = num_outputs
        self.sign = sign()
        self.dense = L.Dense(8, name="b0")

    def call(self, inputs):
        y = self.dense(self.sign(inputs))
        return y if self.num_outputs == 1 else [y] * self.num_outputs

    def get_config(self):
        return {"num_outputs": self.num_outputs}


def test_subclassed_models_too(tmp_path):
    for num_outputs, operation in ((1, "tfc.BDense"), (2, None)):
        model = Subclassed(num_outputs)
        x = np.random.default_rng(0).normal(size=(8, 40)).astype("float32")
        model(x)
        model = tfc.compress(model, {"b0": Binary()})
        result = tfc.export_tflite(model, tmp_path / "m.tflite", samples=x)
        assert [layer.operation for layer in result.binary] == [operation]


def test_ordinary_models_are_left_alone():
    model = models.sequential()
    assert with_binary_operations(model) == (model, ())


def test_without_the_native_core(tmp_path, monkeypatch):
    model, x = trained(mlp)
    monkeypatch.setattr(native, "library", lambda: None)
    path = tmp_path / "m.tflite"
    with pytest.raises(native.NativeError, match="profile='builtin'"):
        tfc.export_tflite(model, path, samples=x)
    assert not path.exists()
    assert tfc.export_tflite(model, path, verify=False).operations["tfc.BDense"] == 3
    tfc.export_tflite(model, path, samples=x, profile="builtin")


def test_attributes_are_written():
    x = keras.Input((9, 9, 40))
    y = L.Conv2D(8, (3, 2), strides=(2, 1), padding="same", name="b0")(sign()(x))
    model = keras.Model(x, y)
    model = tfc.strip(tfc.compress(model, {"b0": Binary()}))
    rewritten, _ = with_binary_operations(model)
    file, _ = convert(rewritten, precision_of("float32"))
    (graph,) = file.subgraphs
    (operation,) = graph.operators
    options = flexbuffers.GetRoot(bytes(operation.customOptions)).AsMap
    names = [key.AsKey for key in options.Keys]
    assert dict(zip(names, [v.AsInt for v in options.Values], strict=True)) == {
        "binarize": 1,
        "channels": 40,
        "dilation_height": 1,
        "dilation_width": 1,
        "relu": 0,
        "same_padding": 1,
        "stride_height": 2,
        "stride_width": 1,
    }
    shapes = [list(graph.tensors[i].shape) for i in operation.inputs]
    assert shapes == [[1, 9, 9, 40], [1, 8, 3, 2, 2], [8], [8]]
