"""The memory that activations of a file take."""

import keras
import numpy as np
from keras import layers

import tfcompress as tfc
from tfcompress.tflite.memory import activation_bytes


def exported(model, path, *args, **kwargs):
    tfc.export_tflite(model, path, *args, **kwargs)
    return activation_bytes(path.read_bytes())


def test_a_chain_needs_two_neighbours(tmp_path):
    model = keras.Sequential(
        [keras.Input((10,)), layers.Dense(100), layers.Dense(30), layers.Dense(1)]
    )
    assert exported(model, tmp_path / "m.tflite") == 4 * (100 + 30)


def test_a_residual_keeps_its_input(tmp_path):
    x = keras.Input((16,))
    y = layers.Dense(64, "relu")(x)
    y = layers.Dense(64)(layers.Dense(64, "relu")(y)) + y
    # Input and output of the last dense layer, and the other summand.
    assert exported(keras.Model(x, y), tmp_path / "m.tflite") == 4 * 3 * 64


def test_integers_take_a_quarter_and_weights_nothing(tmp_path):
    model = keras.Sequential([keras.Input((64,)), layers.Dense(128), layers.Dense(8)])
    x = np.random.default_rng(0).normal(size=(32, 64)).astype("float32")
    quantized = tfc.quantize_weights(model, 4, x)
    ordinary = exported(quantized, tmp_path / "a.tflite", "int8", x)
    encoded = exported(quantized, tmp_path / "b.tflite", "int8", x, codec="auto")
    assert ordinary == encoded == 64 + 128
