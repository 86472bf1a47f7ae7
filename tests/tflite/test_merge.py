"""Several models in one file."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

import tfcompress as tfc
from tests.native.single import FLOAT32, file_of
from tests.tflite import files
from tfcompress.tflite.merge import merge
from tfcompress.tflite.read import read, write

_X = np.float32([[1, 2], [-3, 4], [1, 1]])


class _Stateful(tf.Module):
    """A model with graphs that run once, in rounds and on a condition, and a variable."""

    def __init__(self, factor):
        super().__init__()
        self.total = tf.Variable(tf.zeros((1, 2)))
        self.factor = factor

    @tf.function(input_signature=[tf.TensorSpec((1, 2), tf.float32, "x")])
    def call(self, x):
        self.total.assign_add(self.factor * x)
        grown = tf.while_loop(
            lambda i, _: i < 3, lambda i, y: (i + 1, self.factor * y), [0, x]
        )[1]
        sign = tf.cond(x[0, 0] > 0, lambda: self.factor * x, lambda: -x)
        return {"y": self.total + grown + sign}


@pytest.fixture(scope="module")
def stateful(tmp_path_factory):
    contents = {}
    for name, factor in {"two": 2.0, "three": 3.0}.items():
        folder, module = str(tmp_path_factory.mktemp("saved")), _Stateful(factor)
        tf.saved_model.save(module, folder, {"serving_default": module.call})
        contents[name] = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    return contents


def _dense(num_outputs, seed=0):
    random = np.random.default_rng(seed)
    codes = random.integers(-127, 128, (num_outputs, 8))
    scales = random.uniform(0.5, 1, num_outputs)
    return files.signed(files.dense(codes, scales, np.arange(num_outputs)))


def test_each_signature_is_its_file_alone(stateful):
    merged = write(merge({name: read(content) for name, content in stateful.items()}))
    for name, content in stateful.items():
        expected = tfc.Interpreter(content).run(_X)
        found = tfc.Interpreter(merged, signature=name).run(_X)
        np.testing.assert_array_equal(found, expected)


def test_variables_stay_apart(stateful):
    merged = write(merge({name: read(content) for name, content in stateful.items()}))
    interpreter = litert.Interpreter(model_content=merged)
    two, three = map(interpreter.get_signature_runner, ("two", "three"))
    x = np.float32([[1, 1]])
    # The sum of all inputs, three rounds, and the branch: 2 + 8 + 2, then 4 + 8 + 2.
    found = [run(x=x)["y"][0, 0] for run in (two, three, two, three)]
    assert found == [12, 33, 14, 36]


def test_graphs_alike_but_for_their_sizes_run_by_their_names():
    """Their ends have the same names and places."""
    merged = write(merge({"narrow": _dense(4), "wide": _dense(12, seed=1)}))
    x = np.arange(16).reshape(2, 8).astype(np.int8)
    for name, size, seed in [("narrow", 4, 0), ("wide", 12, 1)]:
        alone = tfc.Interpreter(write(_dense(size, seed))).run(x, raw=True)
        found = tfc.Interpreter(merged, signature=name).run(x, raw=True)
        assert found.shape == (2, size)
        np.testing.assert_array_equal(found, alone)
    same = write(merge({"one": _dense(4), "other": _dense(4, seed=1)}))
    alone = tfc.Interpreter(write(_dense(4, 1))).run(x, raw=True)
    found = tfc.Interpreter(same, signature="other").run(x, raw=True)
    np.testing.assert_array_equal(found, alone)


def test_the_delegate_runs_operations_of_every_graph():
    """Sums of 70 signs by the kernel's, all of which are positive."""
    attributes = {"channels": 70, "binarize": 1, "relu": 0}
    bits = np.zeros((1, 36, 1, 3), np.int32)
    affine = [np.ones(36, "float32"), np.arange(36, dtype="float32")]
    ends = ((3, 70), FLOAT32), [bits, *affine], ((3, 36), FLOAT32)
    binary = files.signed(read(file_of("tfc.BDense", attributes, *ends)))
    merged = write(merge({"dense": _dense(4), "binary": binary}))
    x = np.ones((3, 70), np.float32)
    x[1, :20] = -1
    (name,) = (entry.name.decode() for entry in binary.signatureDefs[0].inputs)
    found = tfc.Interpreter(merged, signature="binary").run({name: x})
    expected = np.float32([[70], [30], [70]]) + np.arange(36)
    np.testing.assert_array_equal(found, expected)


def _noted(file, content):
    note = schema.MetadataT()
    note.name, note.buffer = b"note", len(file.buffers)
    file.buffers.append(schema.BufferT())
    file.buffers[-1].data = np.frombuffer(content, np.uint8)
    file.metadata = [note]
    return file


def test_what_is_equal_is_kept_once():
    parts = {
        "a": _noted(_dense(4), b"same"),
        "b": _noted(_dense(4), b"same"),
        "c": _noted(_dense(5, seed=1), b"other"),
    }
    before = {name: write(file) for name, file in parts.items()}
    parts["b"].subgraphs[0].name = b"second"
    # An empty buffer is equivalent to none.
    parts["c"].subgraphs[0].tensors[0].buffer = len(parts["c"].buffers)
    parts["c"].buffers.append(schema.BufferT())
    merged = merge(parts)
    assert merged.buffers[0].data is None
    assert merged.subgraphs[2].tensors[0].buffer == 0
    sizes = sorted(len(buffer.data) for buffer in merged.buffers[1:])
    assert sizes == sorted([4 * 8, 4 * 4, 5 * 8, 5 * 4, len(b"same"), len(b"other")])
    assert [len(merged.operatorCodes), len(merged.subgraphs)] == [1, 3]
    assert [graph.name for graph in merged.subgraphs] == [None, b"second", None]
    notes = [bytes(merged.buffers[note.buffer].data) for note in merged.metadata]
    assert notes == [b"same", b"other"]
    signatures = [(s.signatureKey, s.subgraphIndex) for s in merged.signatureDefs]
    assert signatures == [(b"a", 0), (b"b", 1), (b"c", 2)]
    # The merged model shares nothing with the given ones.
    merged.subgraphs[0].tensors[1].buffer = 0
    assert write(parts["a"]) == before["a"]


def test_operations_of_different_kinds_find_their_codes():
    tensors = [
        files.tensor(b"x", files.INT8, (1, 8)),
        files.tensor(b"y", files.INT8, (1, 8)),
    ]
    relu = files.signed(files.model(tensors, files.operation("RELU", (0,), (1,))))
    merged = merge({"dense": _dense(4), "relu": relu, "again": _dense(4)})
    places = [graph.operators[0].opcodeIndex for graph in merged.subgraphs]
    assert places == [0, 1, 0]
    x = np.int8([[-3, 5, 0, 1, -1, 7, 9, -9]])
    found = tfc.Interpreter(write(merged), signature="relu").run(x, raw=True)
    np.testing.assert_array_equal(found, np.maximum(x, 0))


def _with_control_dependencies(file):
    _noted(file, b"\1").metadata[0].name = b"model_control_dependencies"


def _without_signature(file):
    file.signatureDefs = None


def _outside(file):
    file.buffers[1].offset = 4096


@pytest.mark.parametrize(
    "edit, message",
    [
        (_without_signature, "'b' has 0 signatures"),
        (_with_control_dependencies, "'b' prescribes an order of operations"),
        (_outside, "'b' keeps constants outside"),
    ],
)
def test_what_cannot_be_merged(edit, message):
    file = _dense(4)
    edit(file)
    with pytest.raises(ValueError, match=message):
        merge({"a": _dense(4), "b": file})


def test_nothing_is_not_merged():
    with pytest.raises(ValueError, match="at least one"):
        merge({})
