"""Edits of float files before they are quantized, by hand."""

import keras
import numpy as np
import pytest

from tests import models
from tfcompress.export.measured_converter import MeasuredConverter
from tfcompress.export.trace import inference_function
from tfcompress.tflite.bounded_constants import bound_constants
from tfcompress.tflite.integer_forms import rewrite_for_integers
from tfcompress.tflite.observe import FloatFile
from tfcompress.tflite.operations import constant, count_operations, operation_name
from tfcompress.tflite.read import read
from tfcompress.tflite.tensor_ranges import set_ranges

L = keras.layers
ops = keras.ops
X = np.array([[-3.0, 1.0, 2.0, -1.0], [0.5, -2.0, 4.0, 0.0]], "float32")


def float_file(head, shape=(4,)):
    x = keras.Input(shape, name="x")
    function, module = inference_function(keras.Model(x, head(x)))
    converter = MeasuredConverter.from_concrete_functions([function], module)
    return read(converter.convert())


def ranges(file):
    """`{name of the operation that writes it: range}`."""
    graph = file.subgraphs[0]
    found = {}
    for operation in graph.operators:
        written = graph.tensors[operation.outputs[0]].quantization
        found[operation_name(file, operation)] = (written.min[0], written.max[0])
    return found


def test_ends_of_all_samples():
    file = float_file(lambda x: ops.exp(x * 2.0) + 1.0)
    set_ranges(file, FloatFile(file).ends({"x": X}), 8)
    found = ranges(file)
    assert found["MUL"] == (-6.0, 8.0)
    # Zero is part of every range.
    assert found["EXP"] == (0.0, pytest.approx(np.exp(8), rel=1e-5))


def test_a_minimum_shares_the_range_of_what_others_read_too():
    file = float_file(lambda x: (lambda y: ops.minimum(y, 0.0) * ops.exp(y))(x * 2.0))
    set_ranges(file, FloatFile(file).ends({"x": X}), 8)
    assert ranges(file)["MINIMUM"] == (-6.0, 8.0)
    alone = float_file(lambda x: ops.exp(ops.minimum(x * 2.0, 0.0)))
    set_ranges(alone, FloatFile(alone).ends({"x": X}), 8)
    assert ranges(alone)["MINIMUM"] == (-6.0, 0.0)


def test_zeros_have_a_range():
    file = float_file(lambda x: ops.relu(x - 100.0) * 3.0)
    set_ranges(file, FloatFile(file).ends({"x": X}), 8)
    assert ranges(file)["MUL"] == (0.0, 1.0)


def numbers(file):
    graph = file.subgraphs[0]
    arrays = (constant(file, tensor) for tensor in graph.tensors)
    return [float(a.ravel()[0]) for a in arrays if a is not None and a.size == 1]


def test_infinite_constants_move_as_close_as_outputs_allow():
    file = float_file(lambda x: ops.softmax(ops.where(x > 0, x, -1e9)))
    before = FloatFile(file).outputs({"x": X})
    assert min(numbers(file)) == -1e9
    assert bound_constants(file, {"x": X}, 1e-3) == 1
    (bound,) = [number for number in numbers(file) if number]
    assert -30 < bound < -7
    np.testing.assert_allclose(FloatFile(file).outputs({"x": X}), before, atol=1e-3)


def test_constants_that_matter_are_not_moved():
    file = float_file(lambda x: x * 50000.0)
    assert bound_constants(file, {"x": X}, 1e-3) == 0
    assert numbers(file) == [50000.0]
    assert bound_constants(float_file(lambda x: x * 500.0), {"x": X}, 1e-3) == 0


@pytest.mark.parametrize(
    ("head", "gone", "there"),
    [
        (lambda x: ops.sum(x, -1, keepdims=True) * x, "SUM", "MEAN"),
        (lambda x: ops.square(x), "SQUARE", "MUL"),
        (lambda x: ops.var(x, -1, keepdims=True) * x, "SQUARED_DIFFERENCE", "SUB"),
        (lambda x: ops.pad(x, ((0, 0), (1, 1)), constant_values=-2.0), "PADV2", "PAD"),
    ],
)
def test_forms_for_16_bits_compute_the_same(head, gone, there):
    file = float_file(head)
    expected = FloatFile(file).outputs({"x": X})
    assert gone in count_operations(file)
    rewrite_for_integers(file, 8)
    assert gone in count_operations(file)
    rewrite_for_integers(file, 16)
    assert gone not in count_operations(file)
    assert there in count_operations(file)
    np.testing.assert_allclose(FloatFile(file).outputs({"x": X}), expected, rtol=1e-5)


def test_nothing_is_rewritten_where_nothing_has_to_be():
    model = models.small()
    function, module = inference_function(model)
    content = MeasuredConverter.from_concrete_functions([function], module).convert()
    file = read(content)
    before = count_operations(file)
    rewrite_for_integers(file, 16)
    assert count_operations(file) == before
