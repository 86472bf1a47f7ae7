"""Shared by the tests: built programs, and models with Python's outputs for them."""

import pathlib
import sys

import keras
import numpy as np
import pytest
from ai_edge_litert import interpreter as litert

import tfcompress as tfc
from tfcompress.runtime.delegate import loadable
from tfcompress.runtime.interpreter import quantized

PROJECT = pathlib.Path(__file__).resolve().parents[2]
for folder in ("android_demo/tests", "android_demo/tools", "tests/arm", "tests/native"):
    sys.path.insert(0, str(PROJECT / folder))

import models  # noqa: E402
from machine import Machine  # noqa: E402
from played_phone import Phone  # noqa: E402

KERNELS = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES


@pytest.fixture(scope="session")
def arm64():
    return Machine("arm64-v8a")


@pytest.fixture(scope="session")
def x86_64():
    return Machine("x86_64")


@pytest.fixture
def phone(tmp_path, monkeypatch):
    """A fake phone that the program adb of this machine reaches."""
    phone = Phone(tmp_path / "phone")
    monkeypatch.setenv("PATH", str(phone.programs), prepend=":")
    monkeypatch.setenv("FAKE_ADB", str(phone.home))
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    return phone


def _network():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.DepthwiseConv2D(3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )


def float32(path):
    tfc.export_tflite(_network(), path)


def int8(path):
    tfc.export_tflite(_network(), path, "int8", samples=models._inputs(16))


def _without_xnnpack(path, x):
    """Outputs of the built-in kernels, which round int8 values differently."""
    content, delegate = loadable(path.read_bytes())
    interpreter = litert.Interpreter(
        model_content=content,
        experimental_op_resolver_type=KERNELS,
        experimental_delegates=[litert.load_delegate(delegate)] if delegate else None,
    )
    interpreter.allocate_tensors()
    (inputs,), (outputs,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )
    found = []
    for example in x:
        interpreter.set_tensor(inputs["index"], example[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(outputs["index"]))
    return np.concatenate(found)


@pytest.fixture(scope="session")
def cases(tmp_path_factory):
    """`{name: (path, expected outputs of each backend)}`."""
    folder, found = tmp_path_factory.mktemp("models"), {}
    for write in (float32, int8, *models.MODELS):
        path = folder / f"{write.__name__}.tflite"
        write(path)
        x = np.random.default_rng(2).normal(size=(4, 32, 32, 3)).astype("float32")
        with tfc.Interpreter(path) as interpreter:
            (detail,) = interpreter.input_details.values()
            x = quantized(x, detail)
            expected = {"xnnpack": interpreter.run(x, raw=True)}
        expected["cpu"] = _without_xnnpack(path, x)
        found[write.__name__] = path, expected
        path.with_suffix(".in").write_bytes(x.tobytes())
    return found
