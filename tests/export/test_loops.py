"""Loops and branches in integer files."""

import keras
import numpy as np
import pytest

from tfcompress.export import export_tflite

L = keras.layers
ops = keras.ops
RECURRENT = {
    "gru": lambda: L.GRU(24),
    "lstm": lambda: L.LSTM(24),
    "simple": lambda: L.SimpleRNN(24),
    "stacked": lambda: L.RNN([L.GRUCell(12), L.LSTMCell(12)]),
    "both_ways": lambda: L.Bidirectional(L.LSTM(12, return_sequences=True)),
    "backward": lambda: L.GRU(24, go_backwards=True, return_sequences=True),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.tflite"


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_recurrent_layers_keep_their_loop(path):
    keras.utils.set_random_seed(0)
    x = keras.Input((30, 8))
    outputs = {
        kind: L.Dense(4, name=f"of_{kind}")(L.Flatten()(layer))
        for kind, layer in ((kind, make()(x)) for kind, make in RECURRENT.items())
    }
    model = keras.Model(x, outputs)
    samples = normal(32, 30, 8)
    whole = export_tflite(model, path)
    result = export_tflite(model, path, "int8", samples=samples)
    assert result.noise.keys() == RECURRENT.keys()
    assert result.operations["WHILE"] == whole.operations["WHILE"] == 7
    assert "DEQUANTIZE" not in result.operations and not result.float_operations
    assert max(result.noise.values()) < 0.05
    # Everything except weights takes more bytes in integers, and there are few weights.
    assert result.size_bytes < 1.1 * whole.size_bytes


class Within(L.Layer):
    """`x` becomes `tanh(x + 1.21 x)` three times, the product in two steps."""

    def call(self, x):
        def grown(y):
            return ops.while_loop(
                lambda n, _: n < 2, lambda n, y: (n + 1, 1.1 * y), (0, y)
            )[1]

        def step(n, y):
            return n + 1, ops.tanh(x + grown(y))

        return ops.while_loop(lambda n, _: n < 3, step, (0, x))[1]

    def compute_output_shape(self, shape):
        return shape


class Either(L.Layer):
    """`3 x` where the sum is positive, else `-x`."""

    def call(self, x):
        return ops.cond(ops.sum(x) > 0, lambda: 3 * x, lambda: -x)

    def compute_output_shape(self, shape):
        return shape


@pytest.mark.parametrize("layer", [Within, Either])
def test_ranges_are_measured_inside_of_loops_and_branches(layer, path):
    keras.utils.set_random_seed(0)
    x = keras.Input(batch_shape=(1, 6))
    model = keras.Model(x, L.Dense(3)(layer()(L.Dense(4)(x))))
    result = export_tflite(model, path, "int8", samples=normal(64, 6))
    assert max(result.noise.values()) < 0.05
    assert not {"WHILE", "MUL", "TANH"} & result.float_operations.keys()


class Perhaps(L.Layer):
    """`relu(w x)` where the sum is positive, else `x` itself."""

    def build(self, shape):
        self.inner = L.Dense(shape[-1], "relu")
        self.inner.build(shape)

    def call(self, x):
        return ops.cond(ops.sum(x) > 0, lambda: self.inner(x), lambda: x)

    def compute_output_shape(self, shape):
        return shape


def test_branches_take_and_give_integers(path):
    keras.utils.set_random_seed(0)
    x = keras.Input(batch_shape=(1, 6))
    y = L.Dense(4)(x)
    for _ in range(2):
        y = Perhaps()(y)
    model = keras.Model(x, L.Dense(3)(y))
    result = export_tflite(model, path, "int8", samples=normal(64, 6))
    assert max(result.noise.values()) < 0.05
    assert result.operations["IF"] == 2
    assert "DEQUANTIZE" not in result.operations and not result.float_operations


def test_a_branch_that_no_sample_takes_stays_float(path):
    keras.utils.set_random_seed(0)
    x = keras.Input(batch_shape=(1, 6))
    y = L.Dense(4, "relu")(x)
    model = keras.Model(x, L.Dense(3)(Perhaps()(-y)))
    result = export_tflite(model, path, "int8", samples=normal(64, 6))
    assert max(result.noise.values()) < 0.05
    assert {"BATCH_MATMUL", "ADD"} <= result.float_operations.keys()


def test_a_file_of_many_steps_is_little_more_than_its_weights(path):
    keras.utils.set_random_seed(0)
    x = keras.Input((98, 40))
    model = keras.Model(x, L.Dense(12)(L.GRU(48)(x)))
    result = export_tflite(model, path, "int8", samples=normal(8, 98, 40))
    assert result.size_bytes < model.count_params() + 15_000


def test_a_layer_that_is_called_twice(path):
    keras.utils.set_random_seed(0)
    shared, (x, y) = L.GRU(8), (keras.Input((12, 4), name=name) for name in "xy")
    model = keras.Model([x, y], L.Dense(3)(L.Concatenate()([shared(x), shared(y)])))
    samples = {"x": normal(64, 12, 4), "y": 2 * normal(64, 12, 4)[::-1]}
    result = export_tflite(model, path, "int8", samples=samples)
    assert max(result.noise.values()) < 0.05
    assert not result.float_operations
