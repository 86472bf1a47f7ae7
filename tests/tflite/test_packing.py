import copy

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.tflite import files
from tfcompress.tflite.packing import Packer
from tfcompress.tflite.read import read, write


def _two_layers(scale=1.0):
    """Two dense layers with the scales and zero points of 64 channels each."""
    random = np.random.default_rng(0)
    codes, bias = random.integers(-9, 9, (64, 64)), random.integers(-99, 99, 64)
    file = files.dense(codes, np.linspace(1, 2, 64), bias)
    graph = file.subgraphs[0]
    names = b"second w", b"second b", b"second y"
    for name, tensor in zip(names, graph.tensors[1:], strict=True):
        again = copy.deepcopy(tensor)
        again.name, again.quantization.scale = name, tensor.quantization.scale * scale
        graph.tensors.append(again)
    graph.operators.append(copy.deepcopy(graph.operators[0]))
    graph.operators[1].inputs, graph.operators[1].outputs = [3, 4, 5], [6]
    graph.outputs = [6]
    return file


def _vectors(content):
    """Positions of all quantizations, scales and zero points in a file."""
    graph = schema.Model.GetRootAs(content).Subgraphs(0)
    found = [graph.Tensors(i).Quantization() for i in range(graph.TensorsLength())]
    return [
        {q._tab.Pos for q in found},
        {q._tab.Vector(q._tab.Offset(8)) for q in found},
        {q._tab.Vector(q._tab.Offset(10)) for q in found},
    ]


def test_equal_tables_and_vectors_have_one_place():
    quantizations, scales, points = _vectors(write(_two_layers()))
    # Those of one channel and those of 64.
    assert [len(found) for found in (quantizations, scales, points)] == [2, 2, 2]


def test_vectors_are_shared_by_tables_that_differ():
    quantizations, scales, points = _vectors(write(_two_layers(scale=2.0)))
    # 1 and 2 for a tensor, and those of both layers' channels.
    assert [len(found) for found in (quantizations, scales, points)] == [4, 4, 2]


def test_nothing_else_changes():
    file = _two_layers(scale=2.0)
    builder = flatbuffers.Builder(0)
    builder.Finish(file.Pack(builder), file_identifier=b"TFL3")
    plain, packed = bytes(builder.Output()), write(file)
    # 64 zero points of 8 bytes for 3 more tensors, 64 scales of 4 bytes for 2.
    assert len(plain) - len(packed) > 3 * 64 * 8 + 2 * 64 * 4
    assert write(read(plain)) == packed == write(read(packed))
    for name in ("tensors", "operators"):
        for before, after in zip(
            getattr(read(plain).subgraphs[0], name),
            getattr(read(packed).subgraphs[0], name),
            strict=True,
        ):
            assert _content(before) == _content(after)


def _content(part):
    """All values of an object form, to compare."""
    if isinstance(part, np.ndarray):
        return part.tolist()
    return (
        {name: _content(value) for name, value in vars(part).items()}
        if hasattr(part, "__dict__")
        else part
    )


def test_constants_are_aligned_as_the_schema_demands():
    content = write(_two_layers())
    model = schema.Model.GetRootAs(content)
    for place in (1, 2):
        table = model.Buffers(place)._tab
        assert table.Vector(table.Offset(4)) % 16 == 0


@pytest.mark.parametrize("dtype", ["i1", "i4", "i8", "f4"])
def test_vectors_of_other_types_are_not_the_same(dtype):
    """Zeros of all types have equal bytes, but not equal lengths."""
    builder = Packer(0)
    longer = builder.CreateNumpyVector(np.zeros(16, "u1"))
    again = builder.CreateNumpyVector(np.zeros(16, dtype))
    assert again != longer
    assert builder.CreateNumpyVector(np.zeros(16, dtype)) == again


def test_equal_strings_are_written_once():
    builder = Packer(0)
    first, longer = builder.CreateString("abc"), builder.CreateString("abcd")
    size = builder.Offset()
    assert builder.CreateString(b"abc") == first != longer
    assert builder.Offset() == size
