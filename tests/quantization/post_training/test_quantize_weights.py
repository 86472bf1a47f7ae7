import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.core.graph import editable
from tfcompress.core.grid import integer_grid
from tfcompress.core.walk import weight_refs
from tfcompress.quantization.post_training.side_by_side import run_side_by_side
from tfcompress.tflite.describe import describe

L = keras.layers


def small_network():
    x = keras.Input((8, 8, 3), name="image")
    y = L.Conv2D(8, 3, name="conv")(x)
    y = L.ReLU()(L.BatchNormalization(name="norm")(y))
    y = L.ReLU()(L.DepthwiseConv2D(3, name="depthwise")(y))
    y = L.GlobalAveragePooling2D()(L.Conv2D(16, 1, name="pointwise")(y))
    model = keras.Model(x, L.Dense(5, name="head")(y))
    samples = models.inputs(model, 64)
    for _ in range(3):
        model(samples, training=True)
    return model, samples


def stored_kernels(path):
    """`{shape: dequantized kernel}` of a file, with the output channels last."""
    interpreter = tfc.Interpreter(path)._interpreter
    found = {}
    for detail in interpreter.get_tensor_details():
        parameters = detail["quantization_parameters"]
        axis, scales = parameters["quantized_dimension"], parameters["scales"]
        if len(scales) < 2 or detail["dtype"] != np.int8:
            continue
        codes = np.moveaxis(interpreter.get_tensor(detail["index"]), axis, -1)
        found[codes.shape] = codes * scales
    return found


@pytest.mark.parametrize("ranged", [True, False], ids=["ranges", "samples"])
@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
def test_int8_files_hold_exactly_the_rounded_weights(rounding, ranged, tmp_path):
    model, x = small_network()
    if ranged:
        model = tfc.quantize_activations(model, ranges="mse", samples=x)
    rounded = tfc.quantize_weights(model, 4, x, rounding)
    assert not any("tfcompress" in type(a).__module__ for a in rounded.operations)
    tfc.export_tflite(rounded, tmp_path / "m.tflite", "int8", samples=x)
    stored = stored_kernels(tmp_path / "m.tflite")
    for name in ("conv", "depthwise", "pointwise", "head"):
        kernel = rounded.get_layer(name).kernel.numpy()
        if name == "depthwise":
            kernel = kernel[None, ..., 0]
        np.testing.assert_allclose(stored[kernel.shape], kernel, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ranged", [True, False], ids=["ranges", "samples"])
def test_int4_files_hold_bits_by_layer(ranged, tmp_path):
    model, x = small_network()
    if ranged:
        model = tfc.quantize_activations(model, samples=x)
    bits = {"conv": 8, "pointwise": 4, "head": 2}
    rounded = tfc.quantize_weights(model, bits, x)
    _, levels = integer_grid(rounded.get_layer("head").kernel)
    np.testing.assert_array_equal(levels, 1)
    path = tmp_path / "m.tflite"
    tfc.export_tflite(rounded, path, "int4", samples=x, profile="builtin")
    kinds = describe(tmp_path / "m.tflite").weight_bytes
    assert kinds["INT4"] == (8 * 16 + 16 * 5) / 2
    assert kinds["INT8"] == 27 * 8 + 9 * 8
    with tfc.Interpreter(tmp_path / "m.tflite") as interpreter:
        np.testing.assert_allclose(interpreter.run(x), rounded(x), atol=0.05)


def test_bias_correction_makes_good_the_mean_of_each_channel():
    model = keras.Sequential([keras.Input((6, 6, 2)), L.Conv2D(4, 3, name="conv")])
    x = models.inputs(model, 32) + 3
    means = [
        np.mean(m(x), axis=(0, 1, 2))
        for m in (
            model,
            tfc.quantize_weights(model, 2, x, scales="max", correct_bias=False),
            tfc.quantize_weights(model, 2, x, scales="max"),
        )
    ]
    assert np.abs(means[1] - means[0]).max() > 0.1
    np.testing.assert_allclose(means[2], means[0], atol=1e-4)


def test_later_layers_make_good_the_errors_of_earlier_ones():
    model = keras.Sequential(
        [keras.Input((16,)), *[L.Dense(16, activation="relu") for _ in range(3)]]
    )
    x = models.inputs(model, 512)
    expected = model(x)
    roundings = "nearest", "gptq", {"ada_round": {"iterations": 400}}
    nearest, *errors = (
        np.mean(np.square(tfc.quantize_weights(model, 3, x, rounding)(x) - expected))
        for rounding in roundings
    )
    assert max(errors) < 0.85 * nearest


@pytest.mark.parametrize("build", models.ALL, ids=lambda f: f.__name__)
def test_every_kind_of_model_is_rounded(build):
    model = build()
    rounded = tfc.quantize_weights(model, 8, models.inputs(model, 16))
    assert models.difference(model, rounded, models.inputs(model)) < 0.05
    head = rounded.get_layer("head").kernel.numpy()
    assert integer_grid(head)[1].all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bits": 9}, "from 2 to 8"),
        ({"bits": {"conv": 1}}, "from 2 to 8"),
        ({"bits": {"convolution": 4}, "scales": "max"}, "matches no weight"),
        ({"rounding": "up"}, "Unknown rounding 'up'"),
        ({"scales": "median"}, "expected 'max', 'mse' or 'output_mse'"),
        ({"samples": None}, "need samples"),
    ],
)
def test_bad_arguments(arguments, message):
    model = models.sequential()
    with pytest.raises(ValueError, match=message):
        tfc.quantize_weights(model, **{"samples": models.inputs(model), **arguments})


@keras.saving.register_keras_serializable("quantize_weights")
class Block(keras.layers.Layer):
    """Dense layers two levels down, one of which runs twice."""

    def build(self, shape):
        self.inner = keras.Sequential(
            [keras.Input(shape[1:]), keras.layers.Dense(8, "relu", name="twice")]
        )
        self.attention = keras.layers.MultiHeadAttention(2, 4, name="attention")
        self.attention.build(shape, shape)
        self.last = keras.layers.Dense(shape[-1], name="last")
        self.last.build((*shape[:-1], 8))

    def call(self, x):
        return self.last(self.inner(self.inner(x) + self.attention(x, x)))


def blocks():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((5, 8)), Block(name="one"), keras.layers.Dense(3, name="head")]
    )


def column_values(model):
    """The largest number of values in an output channel of a kernel."""
    return {
        ref.path: max(
            len(np.unique(channel))
            for channel in ref.layout.to_canonical(ref.variable.numpy())
            .reshape(-1, ref.layout.num_outputs)
            .T
        )
        for ref in weight_refs(model)
        if ref.is_kernel
    }


@pytest.mark.parametrize("rounding", ["nearest", "gptq", "ada_round"])
def test_layers_inside_others_at_any_depth(rounding):
    x = np.random.default_rng(0).normal(size=(64, 5, 8)).astype("float32")
    small = tfc.quantize_weights(blocks(), 3, x, rounding)
    values = column_values(small)
    assert len(values) == 7
    assert max(values.values()) <= 7, values


def test_inputs_of_layers_inside_others_count():
    model = blocks()
    x = np.random.default_rng(0).normal(size=(128, 5, 8)).astype("float32")
    errors = {
        name: np.mean(
            np.square(tfc.quantize_weights(model, 4, x, **arguments)(x) - model(x))
        )
        for name, arguments in {
            "blind": {"scales": "max", "correct_bias": False},
            "seen": {"rounding": "gptq"},
        }.items()
    }
    assert errors["seen"] < 0.8 * errors["blind"], errors


def test_a_composite_layer_is_rounded_like_the_same_layers_in_a_model():
    @keras.saving.register_keras_serializable("quantize_weights")
    class Pair(keras.layers.Layer):
        def build(self, shape):
            self.a = keras.layers.Dense(6, "relu", name="a")
            self.b = keras.layers.Dense(4, name="b")
            self.a.build(shape)
            self.b.build((None, 6))

        def call(self, x):
            return self.b(self.a(x))

    closed = keras.Sequential([keras.Input((8,)), Pair(name="pair")])
    pair = closed.get_layer("pair")
    opened = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(6, "relu", name="a"),
            keras.layers.Dense(4, name="b"),
        ]
    )
    opened.set_weights(closed.get_weights())
    pair.a.bias.assign(np.linspace(-1, 1, 6))
    opened.get_layer("a").bias.assign(np.linspace(-1, 1, 6))
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    one, other = (
        tfc.quantize_weights(m, {"a": 4, "b": 3}, x, "gptq") for m in (closed, opened)
    )
    for found, expected in zip(one.weights, other.weights, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert len(np.unique(one.get_layer("pair>b").kernel[:, 0])) <= 7


def test_lora_counts():
    model = models.small()
    hidden = model.get_layer("hidden")
    hidden.enable_lora(2)
    hidden.lora_kernel_a.assign(np.full((8, 2), 0.5))
    hidden.lora_kernel_b.assign(np.full((2, 6), 0.25))
    merged = np.asarray(hidden.kernel)
    # a b = 2 · 0.5 · 0.25, times alpha / rank = 1.
    np.testing.assert_allclose(merged - hidden._kernel, 0.25, atol=1e-6)
    small = tfc.quantize_weights(model, 8, scales="max", correct_bias=False)
    kernel = small.get_layer("hidden").kernel
    steps = np.abs(merged).max(axis=0) / 127
    assert (np.abs(kernel - merged) <= steps / 2 * 1.001).all()
    assert not small.get_layer("hidden").lora_enabled
    even = tfc.post_training.equalize(model)
    assert models.difference(even, model, models.inputs(model)) < 1e-5
    assert hidden.lora_enabled


def test_kernels_that_any_grid_holds_are_named():
    x = keras.Input((8, 8, 1))
    y = keras.layers.Conv2D(4, 1, use_bias=False, name="spread")(x)
    y = keras.layers.Conv2D(4, 3, kernel_initializer="zeros", name="zeros")(y)
    model = keras.Model(x, keras.layers.Conv2D(4, 1, name="ordinary")(y))
    with pytest.warns(
        UserWarning, match="changed nothing of 2 layers: 'spread'.*'zeros'"
    ):
        small = tfc.quantize_weights(model, 4, np.ones((8, 8, 8, 1), "float32"))
    for name in ("spread", "zeros"):
        kernel = model.get_layer(name).kernel
        np.testing.assert_allclose(small.get_layer(name).kernel, kernel, rtol=1e-6)


def test_models_that_run_side_by_side_must_have_the_same_calls():
    def model(*names):
        layers = [keras.layers.Dense(4, name=name) for name in names]
        return keras.Sequential([keras.Input((4,), name="x"), *layers])

    with pytest.raises(
        ValueError, match=r"'a', 0\) in one and .*'b', 0\) in the other"
    ):
        run_side_by_side(
            editable(model("a", "b"), "see"),
            editable(model("b", "a"), "see"),
            np.ones((2, 4), "float32"),
            [],
            print,
        )
