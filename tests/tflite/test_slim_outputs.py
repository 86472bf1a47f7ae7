"""What a file computes stays the same, bit for bit, whatever `slim` and `write` drop."""

import functools

import flatbuffers
import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.export.binary import with_binary_operations
from tfcompress.export.convert import convert
from tfcompress.export.precisions import precision_of
from tfcompress.tflite.encode import encode_tflite
from tfcompress.tflite.merge import merge
from tfcompress.tflite.read import read, write
from tfcompress.tflite.slim import NAMES, slim

L = keras.layers


def _converted(model, precision):
    """The object form of a file, before any pass that is tested here."""
    (name,) = (tensor.name for tensor in model.inputs)
    file, _ = convert(model, precision_of(precision), {name: models.inputs(model, 16)})
    return file


def _convolutions():
    keras.utils.set_random_seed(0)
    return _converted(models.sequential(), "int8")


def _loops():
    x = keras.Input((5, 3), name="sequence")
    return _converted(keras.Model(x, L.Dense(2)(L.LSTM(6)(x))), "int8")


def _signatures():
    made = [_converted(models.small(), "float32") for _ in range(2)]
    return merge({"first": made[0], "second": made[1]})


def _encoded():
    model = models.sequential()
    for weight in model.trainable_weights:
        weight.assign(np.sign(np.random.default_rng(0).normal(size=weight.shape)))
    return read(encode_tflite(_converted(model, "float32"), "huffman")[0])


def _binary():
    sign = tfc.layers.QuantizedActivation
    layers = [keras.Input((40,), name="x"), sign("sign"), L.Dense(70), sign("sign")]
    model = keras.Sequential([*layers, L.Dense(9)])
    model = tfc.strip(tfc.compress(model, {".*": tfc.transforms.Binary("mean")}))
    return _converted(with_binary_operations(model)[0], "float32")


MAKE = _convolutions, _loops, _signatures, _encoded, _binary


@functools.cache
def _separately(make):
    """Bytes in which each part of a file is by itself."""
    builder = flatbuffers.Builder(0)
    builder.Finish(make().Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _outputs(content):
    """Outputs of all signatures for random inputs."""
    names = [s.signatureKey.decode() for s in read(content).signatureDefs]
    found = []
    for name in names:
        with tfc.Interpreter(content, signature=name) as interpreter:
            generator = np.random.default_rng(1)
            x = {
                key: generator.integers(-100, 100, detail["shape"]).astype(
                    detail["dtype"]
                )
                for key, detail in interpreter.input_details.items()
            }
            found.append(interpreter.run(x, raw=True))
    return found


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("make", MAKE, ids=lambda make: make.__name__)
def test_outputs_stay_the_same(make, names):
    before = _separately(make)
    file = read(before)
    slim(file, names)
    after = write(file)
    assert len(after) < len(before)
    expected = _outputs(before)
    assert any(np.ptp(np.asarray(y)) for y in keras.tree.flatten(expected))
    np.testing.assert_equal(_outputs(after), expected)


@pytest.mark.parametrize("make", MAKE, ids=lambda make: make.__name__)
def test_each_short_name_is_there_once_in_a_graph(make):
    file = read(_separately(make))
    slim(file, "short")
    for graph in file.subgraphs:
        names = [tensor.name for tensor in graph.tensors]
        assert None not in names
        assert len(names) == len({*names})
