"""Signatures give the same results as LiteRT's runners."""

import gc
import weakref

import keras
import numpy as np

import tfcompress as tfc
from tfcompress.runtime.interpreter import loaded
from tfcompress.runtime.signature import Signature


def test_runs_as_the_runner_does(tmp_path):
    model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(2)])
    exits = keras.Model(model.inputs[0], [model.outputs[0], model.outputs[0] * 2])
    path = tfc.export_tflite(exits, tmp_path / "model.tflite").path
    interpreter = loaded(path.read_bytes(), 1, "model")
    signature = Signature(interpreter, "serving_default")
    runner = interpreter.get_signature_runner("serving_default")
    x = np.random.default_rng(0).normal(size=(1, 4)).astype("float32")
    expected = runner(**{name: x for name in signature.inputs})
    for _ in range(2):
        signature.run({**dict.fromkeys(signature.inputs, x), "other": x})
        for name, array in expected.items():
            np.testing.assert_array_equal(signature.output(name), array)


def test_the_model_stays_as_long_as_a_signature_of_it(tmp_path):
    """LiteRT's model reads bytes that only its interpreter keeps alive."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    path = tfc.export_tflite(model, tmp_path / "model.tflite").path
    interpreter = loaded(path.read_bytes(), 1, "model")
    signature, alive = (
        Signature(interpreter, "serving_default"),
        weakref.ref(interpreter),
    )
    del interpreter
    gc.collect()
    assert alive() is not None
    del signature
    gc.collect()
    assert alive() is None
