import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from tests.tflite import files
from tfcompress.tflite.read import write
from tfcompress.tflite.slim import slim


def _dense():
    random = np.random.default_rng(0)
    return files.dense(random.integers(-9, 9, (64, 4)), np.ones(64), np.zeros(64))


def _computed(content):
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, np.array([[9, -50, 3, 100]], np.int8))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tolist()


def _file_to_slim():
    """What LiteRT runs, with a version, buffers and notes that nothing needs."""
    file = _dense()
    graph = file.subgraphs[0]
    for name in (b"CONVERSION_METADATA", b"mine"):
        note = schema.MetadataT()
        note.name, note.buffer = name, len(file.buffers)
        file.buffers.append(schema.BufferT())
        file.buffers[-1].data = np.frombuffer(name, np.uint8)
        file.metadata = [*(file.metadata or ()), note]
    # As the converter does: an empty buffer for each activation, a version not used.
    graph.tensors[0].buffer = len(file.buffers)
    file.buffers.append(schema.BufferT())
    file.operatorCodes.insert(0, files.operation("ADD", (), ())[1])
    graph.operators[0].opcodeIndex = 1
    graph.operators[0].intermediates = []
    return file


def test_what_no_runtime_needs_is_dropped():
    file = _file_to_slim()
    expected = _computed(write(file))
    slim(file)
    (note,) = file.metadata
    assert note.name == bytes(file.buffers[note.buffer].data) == b"mine"
    # Nothing, weights, bias, the note.
    assert [b.data is None for b in file.buffers] == [True, False, False, False]
    assert [code.builtinCode for code in file.operatorCodes] == [9]
    assert file.subgraphs[0].operators[0].intermediates is None
    assert _computed(write(file)) == expected


def test_equal_constants_share_a_buffer():
    file = _dense()
    bias = file.subgraphs[0].tensors[2]
    file.buffers.append(schema.BufferT())
    file.buffers[-1].data = np.array(file.buffers[bias.buffer].data)
    twin = files.tensor(b"twin", files.INT32, (64,), 3)
    file.subgraphs[0].tensors.insert(3, twin)
    file.subgraphs[0].outputs = file.subgraphs[0].operators[0].outputs = [4]
    slim(file)
    assert len(file.buffers) == 3
    assert twin.buffer == bias.buffer


def test_only_quantizations_with_scales_stay():
    file = _dense()
    empty = file.subgraphs[0].tensors[2].quantization
    empty.scale = empty.zeroPoint = None
    slim(file)
    kept = [tensor.quantization is not None for tensor in file.subgraphs[0].tensors]
    assert kept == [True, True, False, True]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("keep", [b"x", b"net/relu/Relu;net/b/conv/kernel", b"net/y/bias", b"y"]),
        ("short", [b"x", b"1", b"2", b"y"]),
        ("drop", [b"x", None, None, b"y"]),
    ],
)
def test_names_of_inner_tensors(names, expected):
    file = _dense()
    tensors = file.subgraphs[0].tensors
    tensors[1].name = b"net/relu/Relu;net/b/conv/kernel"
    tensors[2].name = b"net/y/bias"
    slim(file, names)
    assert [tensor.name for tensor in tensors] == expected


def test_short_names_are_layers_each_once():
    file = _dense()
    tensors = file.subgraphs[0].tensors
    for tensor, name in zip(
        tensors,
        (b"net/relu/Relu;net/dense/MatMul", b"k", b"b", b"net/dense/MatMul"),
        strict=True,
    ):
        tensor.name = name
    # Not ends, so that they keep no names of their own.
    file.subgraphs[0].inputs = file.subgraphs[0].outputs = []
    slim(file)
    names = [tensor.name for tensor in tensors]
    assert names == [b"dense", b"1", b"2", b"dense_2"]


def test_numbers_that_are_names_of_ends():
    file = _dense()
    file.subgraphs[0].tensors[0].name = b"1"
    slim(file)
    assert [tensor.name for tensor in file.subgraphs[0].tensors][:3] == [
        b"1",
        b"2",
        b"3",
    ]
