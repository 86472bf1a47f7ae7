import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.tflite import files
from tfcompress.tflite.int4 import pack_int4
from tfcompress.tflite.operations import count_parameters
from tfcompress.tflite.read import read, write


def test_codes_of_4_bits_by_hand():
    file = files.dense(np.array([[1, -1, 7]]), scales=(1.0,), bias=np.array([0]))
    pack_int4(file)
    weight = file.subgraphs[0].tensors[1]
    assert weight.type == schema.TensorType.INT4
    assert bytes(file.buffers[weight.buffer].data).hex() == "f107"
    # Three weights, none of them zero, and a bias of zero.
    assert count_parameters(read(write(file))) == (4, 3)


def test_codes_of_more_bits_stay():
    for code in (8, -8):
        file = files.dense(np.array([[1, code]]), scales=(1.0,), bias=np.array([0]))
        pack_int4(file)
        assert files.values(file, 1, np.int8) == [1, code]
        assert file.subgraphs[0].tensors[1].type == schema.TensorType.INT8
