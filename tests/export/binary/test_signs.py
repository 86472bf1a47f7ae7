"""The report and the export find the same signs and the same binary kernels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tfcompress.core.graph import Graph, flatten
from tfcompress.export.binary import reads_signs
from tfcompress.export.binary.signs import is_sign, with_signs
from tfcompress.transforms import Binary, Ternary

L = keras.layers


def sign(quantizer="sign"):
    return tfc.layers.QuantizedActivation(quantizer)


def perceptron(*between, units=16):
    """Some layers, followed by a dense layer with a kernel of one bit."""
    layers = [*between, L.Dense(units, name="b0")]
    return keras.Sequential([keras.Input((32,)), *layers])


def images(*between):
    x = inputs = keras.Input((4, 4, 8))
    for layer in between:
        x = layer(x)
    return keras.Model(inputs, L.Dense(8, name="b0")(L.Flatten()(x)))


class Subclassed(keras.Model):
    def __init__(self, quantizer="sign", function=None, **kwargs):
        super().__init__(**kwargs)
        self.quantizer, self.function = quantizer, function
        self.activation = sign(quantizer)
        self.dense = L.Dense(8, name="b0")

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, inputs):
        # Keras cannot follow functions of TensorFlow.
        inputs = tf.identity(inputs) if self.function else inputs
        return self.dense(self.activation(inputs))

    def get_config(self):
        return {"quantizer": self.quantizer, "function": self.function}


def subclassed(*arguments):
    model = Subclassed(*arguments)
    model(np.zeros((1, 32), "float32"))
    return model


def merged():
    x = inputs = keras.Input((32,))
    x = L.Concatenate()([sign()(x), sign("swish_sign")(-x)])
    return keras.Model(inputs, L.Dense(8, name="b0")(x))


def half_merged():
    x = inputs = keras.Input((32,))
    x = L.Concatenate()([sign()(x), x])
    return keras.Model(inputs, L.Dense(8, name="b0")(x))


def nested():
    inner = perceptron(sign())
    x = keras.Input((32,))
    return keras.Model(x, inner(x))


def ops(function):
    x = keras.Input((32,))
    return keras.Model(x, L.Dense(16, name="b0")(function(x)))


MODELS = {
    "sign": (lambda: perceptron(sign()), True),
    "approx_sign": (lambda: perceptron(sign("approx_sign")), True),
    "values": (lambda: perceptron(), False),
    "ternary_sign": (lambda: perceptron(sign("ternary_sign")), False),
    "dropouts": (
        lambda: perceptron(sign(), L.AlphaDropout(0.1), L.GaussianNoise(0.1)),
        True,
    ),
    "relu": (lambda: perceptron(sign(), L.ReLU()), False),
    "pooled": (lambda: images(sign(), L.MaxPooling2D(2)), True),
    "averaged": (lambda: images(sign(), L.AveragePooling2D(2)), False),
    "spatial": (lambda: images(sign(), L.SpatialDropout2D(0.1)), True),
    "merged": (merged, True),
    "half merged": (half_merged, False),
    "nested": (nested, True),
    "subclassed": (lambda: subclassed(), True),
    "subclassed ternary": (lambda: subclassed("ternary_sign"), False),
    "subclassed with tf": (lambda: subclassed("sign", "identity"), False),
    # Zero where x is zero, which a bit cannot represent.
    "ops.sign": (lambda: ops(keras.ops.sign), False),
    "ops.where": (lambda: ops(lambda x: keras.ops.where(x >= 0, 1.0, -1.0)), True),
    "above zero": (lambda: ops(lambda x: keras.ops.where(x > 0, 1.0, -1.0)), False),
    "few weights": (
        lambda: keras.Sequential([keras.Input((4,)), sign(), L.Dense(16, name="b0")]),
        False,
    ),
}


def found_by_export(model, tmp_path, **arguments):
    """Whether the kernel becomes an operation on bits."""
    result = tfc.export_tflite(model, tmp_path / "m.tflite", verify=False, **arguments)
    return [layer.name for layer in result.binary if layer.input != "values"]


@pytest.mark.parametrize("transform", [Binary("mean"), Ternary()], ids=repr)
@pytest.mark.parametrize("name", MODELS)
def test_report_and_export_agree(name, transform, tmp_path):
    build, expected = MODELS[name]
    compressed = tfc.compress(build(), {"b0": transform})
    on_bits = ["b0"] if expected else []
    assert found_by_export(compressed, tmp_path) == on_bits
    for model in (compressed, tfc.strip(compressed)):
        rows = [w for w in tfc.report(model).weights if w.macs is not None]
        (row,) = rows
        assert row.binary_macs == (row.macs if expected else 0), name


def test_they_agree_on_models_with_ranges(tmp_path):
    x = np.random.default_rng(0).normal(size=(16, 32)).astype("float32")
    model = tfc.compress(perceptron(sign(), L.Dropout(0.1)), {"b0": Binary()})
    ranged = tfc.quantize_activations(model, samples=x)
    assert found_by_export(ranged, tmp_path, precision="int8", samples=x) == ["b0"]
    for model in (ranged, tfc.strip(ranged)):
        assert tfc.report(model).binary_macs == 32 * 16


def test_a_file_of_ops_sign_computes_its_zeros(tmp_path):
    model = tfc.strip(tfc.compress(ops(keras.ops.sign), {"b0": Binary()}))
    x = np.random.default_rng(0).normal(size=(8, 32)).astype("float32")
    x[:, ::2] = 0
    result = tfc.export_tflite(model, tmp_path / "m.tflite", samples=x)
    assert result.max_error <= 1e-5
    (layer,) = result.binary
    assert (layer.operation, layer.input) == ("tfc.BDense", "values")


def test_the_layers_of_a_subclassed_model_are_its_own():
    model = subclassed()
    assert reads_signs(model) == {id(model.dense)}
    compressed = tfc.compress(model, {"b0": "binary"})
    (found,) = reads_signs(compressed)
    assert found == id(compressed.inner.dense)


@pytest.mark.parametrize(
    ("second", "bits", "binary"),
    # Of one size to a millionth; of two sizes, on a grid of one step to a thousandth.
    [(-0.5, 1, True), (-0.5 * (1 + 1e-7), 1, True), (-0.5002, 2, False)],
)
def test_they_agree_on_what_a_kernel_of_two_values_is(second, bits, binary, tmp_path):
    model = perceptron(sign(), units=1)
    values = np.array([0.5, second] * 16)[:, None]
    model.get_layer("b0").kernel.assign(values)
    row = tfc.report(model)["b0/kernel"]
    assert (row.bits, bool(row.binary_macs)) == (bits, binary)
    assert found_by_export(model, tmp_path) == (["b0"] if binary else [])


def test_signs_are_found_in_saved_models_and_put_behind_pooling(tmp_path):
    x = keras.Input((4, 4, 8))
    y = L.Flatten()(L.MaxPooling2D(2)(sign()(x)))
    z = keras.ops.where(x >= 0, 1.0, -1.0)
    not_a_sign = keras.ops.where(x >= 0.5, 1.0, -1.0)
    model = tfc.strip(keras.Model(x, [L.Dense(2)(y), z, not_a_sign]))
    model.save(tmp_path / "m.keras")
    model = keras.models.load_model(tmp_path / "m.keras")
    graph = Graph(with_signs(flatten(model)))
    signs = [node for node in graph.nodes if is_sign(node)]
    assert [node.outputs[0].shape for node in signs] == [(None, 32), (None, 4, 4, 8)]
    (reader,) = graph.consumers(signs[0])
    assert isinstance(reader.operation, L.Dense)
