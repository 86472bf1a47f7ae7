"""Copies of layers with more state than variables and arguments."""

import keras
import numpy as np
import pytest

import tfcompress as tfc

L = keras.layers
NUMBERS = np.random.default_rng(0).normal(50, 10, (64, 6)).astype("float32")
CODES = np.array([[7], [9], [12], [7]] * 16)
WORDS = np.array([["red"], ["blue"], ["green"], ["red"]] * 16)


class Standardized(L.Layer):
    """Its statistics are constants, recomputed when a file is loaded."""

    def build(self, shape):
        self.offset = self.add_weight(shape=(shape[-1],), trainable=False)

    def adapt(self, data):
        self.build(data.shape)
        self.offset.assign(data.mean(0))
        self.finalize()

    def finalize(self):
        self.constant = self.offset.numpy()

    def load_own_variables(self, store):
        super().load_own_variables(store)
        self.finalize()

    def call(self, inputs):
        return inputs - self.constant


def adapted(layer, data):
    layer.adapt(data)
    return layer


def model_of(first, shape, dtype):
    inputs = keras.Input(shape, dtype=dtype)
    hidden = L.Dense(8, activation="relu", name="hidden")(first(inputs))
    return keras.Model(inputs, L.Dense(3, name="head")(hidden))


def nested(model):
    inputs = keras.Input(model.input_shape[1:], dtype=model.input.dtype)
    return keras.Model(inputs, model(inputs))


FIRST_LAYERS = {
    "normalization": lambda: (adapted(L.Normalization(), NUMBERS), NUMBERS),
    "discretization": lambda: (
        adapted(L.Discretization(num_bins=4, output_mode="multi_hot"), NUMBERS),
        NUMBERS,
    ),
    "integers": lambda: (
        adapted(L.IntegerLookup(output_mode="one_hot"), CODES),
        CODES,
    ),
    "strings": lambda: (
        adapted(L.StringLookup(output_mode="one_hot"), WORDS),
        WORDS.astype(object),
    ),
    "text": lambda: (
        adapted(L.TextVectorization(output_mode="tf_idf"), WORDS),
        WORDS.astype(object),
    ),
    "own": lambda: (adapted(Standardized(), NUMBERS), NUMBERS),
}
COPIES = {
    "strip": tfc.strip,
    "compress": lambda m: tfc.compress(m, {"head": "mask"}),
    "prune": lambda m: tfc.prune(m, {"head": 0.0}),
    "prune_channels": lambda m: tfc.prune_channels(m, 0.0),
    "equalize": tfc.post_training.equalize,
    "nested": lambda m: tfc.strip(nested(m)),
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("first", FIRST_LAYERS.values(), ids=FIRST_LAYERS)
def test_what_a_layer_was_adapted_to_is_copied(first, copied):
    layer, x = first()
    kind = "string" if x.dtype == object else x.dtype.name
    model = model_of(layer, x.shape[1:], kind)
    x = keras.ops.convert_to_tensor(x, kind)
    expected = np.asarray(model(x))
    assert np.ptp(expected, axis=0).min() > 0
    np.testing.assert_allclose(copied(model)(x), expected, rtol=1e-4, atol=1e-4)


def test_adapted_statistics_reach_the_file(tmp_path):
    model = model_of(adapted(L.Normalization(), NUMBERS), (6,), "float32")
    result = tfc.export_tflite(tfc.strip(model), tmp_path / "model.tflite")
    with tfc.Interpreter(result.path) as interpreter:
        found = interpreter.run(NUMBERS)
    np.testing.assert_allclose(found, model(NUMBERS), rtol=1e-4, atol=1e-4)


def test_adapters_of_low_rank_are_copied_as_they_are():
    dense = L.Dense(4, lora_rank=2, name="dense")
    model = keras.Sequential([keras.Input((3,)), dense])
    dense.lora_kernel_b.assign(np.ones((2, 4)))
    copy = tfc.strip(model)
    for old, new in zip(model.variables, copy.variables, strict=True):
        np.testing.assert_array_equal(old, new)
