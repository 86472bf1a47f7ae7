"""What could end Python in the converter gives a file or one clear error."""

import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tfcompress.export import converter
from tfcompress.export.child import Child
from tfcompress.export.precisions import precision_of
from tfcompress.export.trace import inference_function
from tfcompress.tflite.operations import count_operations
from tfcompress.tflite.read import read

L = keras.layers
X = np.random.default_rng(0).normal(size=(16, 6, 4)).astype("float32")


class Sampling(L.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed = keras.random.SeedGenerator(1)

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.seed)


class SamplingInLoop(Sampling):
    def call(self, x):
        def step(i, x):
            return i + 1, x + keras.random.normal(keras.ops.shape(x), seed=3)

        return keras.ops.while_loop(lambda i, x: i < 2, step, (0, x))[1]


class Scan(L.Layer):
    def call(self, x):
        def step(state, value):
            state = 0.5 * state + value
            return state, state

        steps = keras.ops.transpose(x, (1, 0, 2))
        _, y = keras.ops.scan(step, keras.ops.zeros_like(steps[0]), steps)
        return keras.ops.transpose(y, (1, 0, 2))


class Loop(L.Layer):
    def call(self, x):
        def step(i, x):
            return i + 1, keras.ops.tanh(x)

        return keras.ops.while_loop(lambda i, x: i < 3, step, (0, x))[1]


class Branch(L.Layer):
    def call(self, x):
        is_far = keras.ops.max(keras.ops.abs(x)) > 1e6
        return keras.ops.cond(is_far, lambda: 2.0 * x, lambda: 3.0 * x)


class Python(L.Layer):
    def call(self, x):
        y = tf.numpy_function(lambda a: 2 * a, [x], tf.float32)
        return tf.ensure_shape(y, x.shape)


class Recurrent(L.Layer):
    def __init__(self):
        super().__init__()
        self.inside = L.GRU(4, return_sequences=True)

    def call(self, x):
        return self.inside(x)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = L.LSTM(4), L.Dense(3)

    def call(self, x):
        return self.head(self.lstm(x))


def around(layer):
    x = keras.Input((6, 4))
    return keras.Model(x, L.Dense(3)(layer(L.Dense(4)(x))))


@pytest.mark.parametrize("layer", [Sampling, SamplingInLoop])
@pytest.mark.parametrize("precision", ["float32", "int8", "int16x8"])
def test_random_layers_are_named(layer, precision, tmp_path):
    model = around(layer(name="noisy"))
    with pytest.raises(
        ValueError, match="Layer 'noisy' .Sampling.* draws random numbers"
    ):
        tfc.export_tflite(model, tmp_path / "m.tflite", precision, samples=X)
    assert not list(tmp_path.iterdir())


def test_random_layers_behind_trained_ranges(tmp_path):
    model = tfc.quantize_activations(around(Sampling()), ranges="min_max", samples=X)
    with pytest.raises(ValueError, match="draws random numbers"):
        tfc.export_tflite(model, tmp_path / "m.tflite", "int8")


def test_python_code_is_named(tmp_path):
    with pytest.raises(ValueError, match="Layer 'python' .Python. runs Python code"):
        tfc.export_tflite(around(Python(name="python")), tmp_path / "m.tflite")


def missing(shape, layer, dtype="float32"):
    x = keras.Input(shape, dtype=dtype)
    return keras.Model(x, layer(x))


def transform(x):
    return keras.ops.fft((x, 0 * x))[0]


WITHOUT_KERNEL = {
    "MaxPool3D.*Pool over two axes": (
        (4, 4, 4, 1),
        L.MaxPooling3D(2, name="it"),
        "float32",
    ),
    "LookupTableFindV2.*numbers": (
        (1,),
        L.IntegerLookup(vocabulary=[1, 2], name="it"),
        "int32",
    ),
    "FFT.*before the model": ((16,), L.Lambda(transform, name="it"), "float32"),
    "Cumprod.*with operations": (
        (4,),
        L.Lambda(keras.ops.cumprod, name="it"),
        "float32",
    ),
}


@pytest.mark.parametrize("message", WITHOUT_KERNEL)
@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("profile", ["custom", "builtin"])
def test_operations_that_litert_lacks_are_told_by_layer(
    message, precision, profile, tmp_path
):
    shape, layer, dtype = WITHOUT_KERNEL[message]
    samples = np.ones((8, *shape), dtype)
    with pytest.raises(
        ValueError, match=f"Layer 'it' .* needs the operation {message}"
    ):
        tfc.export_tflite(
            missing(shape, layer, dtype), tmp_path / "m", precision, samples, profile
        )


def test_ends_without_16_bit_kernels_stay_float(tmp_path):
    x = keras.Input((6,), name="x")
    buckets = L.Discretization([-0.5, 0.5])(x)
    model = keras.Model(x, L.Dense(2)(keras.ops.cast(buckets, "float32")))
    samples = X.reshape(-1, 6)
    result = tfc.export_tflite(model, tmp_path / "m", "int16x8", samples)
    assert max(result.noise.values()) < 0.05
    alone = keras.Model(x, keras.ops.cumsum(x, -1))
    result = tfc.export_tflite(alone, tmp_path / "m", "int16x8", samples)
    assert list(result.float_operations) == ["CUMSUM"]
    assert [note.split(":")[0] for note in result.notes] == [
        "input 'x' stays float32",
        "output 'cumsum' stays float32",
    ]


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_loops_and_branches_of_own_layers(precision, tmp_path):
    path = tmp_path / "m.tflite"
    together = around(keras.Sequential([Scan(), Loop(), Branch()]))
    result = tfc.export_tflite(together, path, precision, samples=X)
    assert result.top1_agreement is None and result.path.exists()


@pytest.mark.parametrize("layer", [Scan, Loop])
def test_what_crashes_is_refused_by_name(layer, tmp_path):
    model = around(layer(name="own"))
    try:
        tfc.export_tflite(model, tmp_path / "m.tflite", "int16x8", samples=X)
    except ValueError as error:
        assert "Layer 'own'" in str(error)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("inside", [True, False])
def test_recurrent_layers_that_no_configuration_describes(inside, precision, tmp_path):
    model = around(Recurrent()) if inside else Subclassed()
    expected = np.asarray(model(X))
    result = tfc.export_tflite(model, tmp_path / "m.tflite", precision, samples=X)
    assert result.mean_error <= 0.05 * expected.std()


def test_half_precision_of_own_layers(tmp_path):
    x = keras.Input((6, 4))
    layer = Recurrent()
    model = keras.Model(x, L.Dense(3, dtype="mixed_float16")(L.Flatten()(layer(x))))
    result = tfc.export_tflite(model, tmp_path / "m.tflite", samples=X)
    assert result.max_error < 1e-2


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_what_is_random_in_training_only_is_no_hazard(precision, tmp_path):
    model = keras.Sequential(
        [
            keras.Input((6, 4)),
            L.Bidirectional(L.LSTM(4, dropout=0.25, recurrent_dropout=0.2)),
            L.Dropout(0.5),
            L.GaussianNoise(0.1),
            L.Dense(3),
        ]
    )
    assert tfc.export_tflite(model, tmp_path / "m.tflite", precision, samples=X)


@pytest.mark.parametrize("name", ["in", "class", "1st", "two words"])
def test_inputs_may_have_any_name(name, tmp_path):
    x = keras.Input((4,), name=name)
    model = keras.Model(x, L.Dense(2)(x))
    tfc.export_tflite(model, tmp_path / "m.tflite")
    assert tfc.Interpreter(tmp_path / "m.tflite").run(X[:, 0]).shape == (16, 2)


def converted(convert):
    x = keras.Input((6, 4), name="x")
    function, module = inference_function(keras.Model(x, L.Dense(3)(L.Flatten()(x))))
    return convert(function, module, precision_of("int8"), {"x": X})


def test_the_child_writes_the_same_operations():
    files = map(converted, (converter.convert_in_child, converter.convert_function))
    first, second = (count_operations(read(content)) for content in files)
    assert first == second == {"FULLY_CONNECTED": 1, "RESHAPE": 1} | second


def test_a_crash_of_the_child_is_an_error(monkeypatch):
    monkeypatch.setattr(converter, "_child", Child(segfault))
    with pytest.raises(RuntimeError, match="the converter ended with SIGSEGV"):
        converted(converter.convert_in_child)


def segfault(*task):
    os.kill(os.getpid(), signal.SIGSEGV)
