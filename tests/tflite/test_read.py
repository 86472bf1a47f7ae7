import collections

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress import native
from tfcompress.export import convert
from tfcompress.runtime.delegate import loadable
from tfcompress.tflite import decode, encode
from tfcompress.tflite import read as reading
from tfcompress.tflite.describe import describe
from tfcompress.tflite.operations import count_macs, count_operations, count_parameters
from tfcompress.tflite.read import custom_operations, read, write


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.tflite"


def test_bytes_and_object_form_are_one(path):
    model = models.sequential()
    tfc.export_tflite(model, path)
    content = path.read_bytes()
    file = read(content)
    assert read(file) is file
    for count in (count_operations, count_macs, count_parameters):
        assert count(content) == count(file)
    assert write(read(content)) == write(file) == content


def test_graphs_may_have_no_operations(path):
    tfc.export_tflite(models.sequential(), path)
    file = read(path.read_bytes())
    file.subgraphs[0].operators = None
    again = read(write(file))
    assert again.subgraphs[0].operators == []
    assert write(again) == write(read(write(again)))
    weights = [buffer.data for buffer in file.buffers if buffer.data is not None]
    found = [buffer.data for buffer in again.buffers if buffer.data is not None]
    assert list(map(bytes, found)) == list(map(bytes, weights))


def test_buffers_behind_a_file_without_operations_are_not_lost(path):
    tfc.export_tflite(models.sequential(), path)
    file = read(path.read_bytes())
    file.subgraphs[0].operators = None
    file.buffers[-1].offset, file.buffers[-1].size = 16, 4
    with pytest.raises(ValueError, match="not a complete"):
        read(write(file))


def test_weights_are_not_copied(path):
    tfc.export_tflite(models.sequential(), path)
    content = path.read_bytes()
    whole = np.frombuffer(content, np.uint8)
    data = [buffer.data for buffer in read(content).buffers if buffer.data is not None]
    assert data and all(np.shares_memory(part, whole) for part in data)


@pytest.mark.parametrize("codec", [None, "auto"])
def test_an_export_reads_and_writes_the_file_once(codec, path, monkeypatch):
    counts = collections.Counter()

    def count(module, name):
        function = getattr(module, name)

        def counted(*args):
            counts[name] += 1
            return function(*args)

        monkeypatch.setattr(module, name, counted)

    count(reading.flatbuffer_utils, "read_model_from_bytearray")
    for module in (convert, encode, decode):
        count(module, "write")
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
    shared = tfc.compress(model, {".*": tfc.transforms.Codebook(8)})
    tfc.export_tflite(shared, path, verify=False, codec=codec)
    # An encoded file is decoded again, to check that nothing was lost.
    assert counts["read_model_from_bytearray"] == (2 if codec else 1)
    assert counts["write"] == (3 if codec else 1)


def test_custom_operations(path):
    sign = tfc.layers.QuantizedActivation("sign")
    dense = keras.layers.Dense(64, name="d")
    model = keras.Sequential([keras.Input((64,)), sign, dense])
    tfc.export_tflite(model, path)
    assert custom_operations(path.read_bytes()) == set()
    binary = tfc.compress(model, {"d": "binary"})
    tfc.export_tflite(binary, path)
    assert custom_operations(path.read_bytes()) == {"tfc.BDense"}
    tfc.export_tflite(binary, path, codec="lut", verify=False)
    shared = tfc.compress(models.sequential(), {".*": tfc.transforms.Codebook(4)})
    tfc.export_tflite(shared, path, codec="lut")
    assert custom_operations(path.read_bytes()) == {"TFLM_DECODE"}
    assert custom_operations(tfc.decode_tflite(path.read_bytes())) == set()


def test_weights_that_spell_a_name_are_no_operation(path, monkeypatch):
    dense = keras.layers.Dense(4, use_bias=False)
    model = keras.Sequential([keras.Input((5,)), dense])
    text = b"tfc.BDense" + b"TFLM_DECODE"
    values = np.frombuffer(text.ljust(80, b"!"), np.float32)
    dense.kernel.assign(values.reshape(4, 5).T)
    tfc.export_tflite(model, path, verify=False)
    content = path.read_bytes()
    assert text in content
    assert custom_operations(content) == set()
    monkeypatch.setattr(native, "library_path", lambda: None)
    assert loadable(content) == (content, None)
    with tfc.Interpreter(content) as interpreter:
        assert interpreter.run(np.zeros((1, 5), "float32")).shape == (1, 4)


def test_damaged_files_are_refused(path):
    tfc.export_tflite(models.sequential(), path)
    content = path.read_bytes()
    for damaged in (b"", b"text", content[:8], content[:4] + b"TFL2" + content[8:]):
        for reader in (read, custom_operations):
            with pytest.raises(ValueError, match="not a complete .tflite model"):
                reader(damaged)
    random = np.random.default_rng(0)
    for _ in range(50):
        damaged = bytearray(content)
        damaged[random.integers(8, 200)] = random.integers(256)
        try:
            names = custom_operations(bytes(damaged))
        except ValueError:
            continue
        assert isinstance(names, set)


def test_a_description_counts_what_encoded_weights_stand_for(path, tmp_path):
    shared = tfc.compress(models.sequential(), {".*": tfc.transforms.Codebook(4)})
    tfc.export_tflite(shared, path)
    plain = describe(path)
    tfc.export_tflite(shared, path, codec="huffman")
    encoded = describe(path)
    assert encoded.parameters == plain.parameters
    assert encoded.nonzero_parameters == plain.nonzero_parameters
    assert encoded.operations["TFLM_DECODE"] >= 1
    assert "UINT8" in encoded.weight_bytes
