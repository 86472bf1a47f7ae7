import copy

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.tflite import files
from tfcompress.tflite.read import read, write
from tfcompress.tflite.slim import slim


def _dense():
    random = np.random.default_rng(0)
    return files.dense(random.integers(-9, 9, (64, 4)), np.ones(64), np.zeros(64))


def test_equal_zero_points_are_written_once():
    file = _dense()
    plain = write(file)
    slim(file)
    with_names = copy.deepcopy(file)
    for tensor, name in zip(with_names.subgraphs[0].tensors, "xwby", strict=True):
        tensor.name = name.encode()
    # Those of the bias, 64 of 8 bytes, and those of the output, one.
    assert 64 * 8 + 8 <= len(plain) - len(write(with_names)) <= 64 * 8 + 8 + 40
    points = [t.quantization.zeroPoint for t in read(write(file)).subgraphs[0].tensors]
    assert [len(each) for each in points] == [1, 64, 64, 1]
    assert not any(each.any() for each in points)


def test_other_zero_points_stay():
    file = _dense()
    file.subgraphs[0].tensors[3].quantization.zeroPoint = np.array([-5])
    slim(file)
    tensors = read(write(file)).subgraphs[0].tensors
    assert tensors[0].quantization.zeroPoint.tolist() == [0]
    assert tensors[3].quantization.zeroPoint.tolist() == [-5]


def test_names_and_notes():
    file = _dense()
    for name in (b"CONVERSION_METADATA", b"mine"):
        note = schema.MetadataT()
        note.name, note.buffer = name, len(file.buffers)
        file.buffers.append(schema.BufferT())
        file.buffers[-1].data = np.frombuffer(name, np.uint8)
        file.metadata = [*(file.metadata or ()), note]
    slim(file)
    (note,) = file.metadata
    assert note.name == bytes(file.buffers[note.buffer].data) == b"mine"
    names = [tensor.name for tensor in file.subgraphs[0].tensors]
    assert names == [b"x", None, None, b"y"]
