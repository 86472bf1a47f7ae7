"""Which operations run as one, what their times depend on, and files with only them."""

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.measuring.measure import set_examples
from tfcompress.runtime.interpreter import loaded
from tfcompress.tflite.fused import fused_operations
from tfcompress.tflite.read import read

L = keras.layers


def sequential(*layers, shape=(6, 6, 2)):
    return keras.Sequential([keras.Input(shape), *layers])


def fused(model, precision="float32", folder=None):
    x = np.random.default_rng(0).normal(size=(8, *model.input_shape[1:]))
    samples = x.astype("float32") if precision.startswith("int") else None
    path = folder / "m.tflite"
    tfc.export_tflite(model, path, precision, samples=samples, verify=False)
    return fused_operations(read(path.read_bytes()))


def names(*arguments, **options):
    return [operation.names for operation in fused(*arguments, **options)]


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_zeros_go_with_the_convolution(precision, tmp_path):
    model = sequential(L.ZeroPadding2D(1), L.Conv2D(3, 3, strides=2))
    assert names(model, precision, folder=tmp_path) == [["PAD", "CONV_2D"]]


def test_zeros_that_others_read_too_stay_apart(tmp_path):
    x = keras.Input((6, 6, 2))
    padded = L.ZeroPadding2D(1)(x)
    model = keras.Model(x, [L.Conv2D(3, 3, 2)(padded), L.DepthwiseConv2D(3, 2)(padded)])
    expected = [["CONV_2D"], ["DEPTHWISE_CONV_2D"], ["PAD"]]
    assert sorted(names(model, folder=tmp_path)) == expected


def test_limits_go_with_what_sums(tmp_path):
    model = sequential(L.Conv2DTranspose(3, 2, activation="relu"))
    assert names(model, folder=tmp_path) == [["TRANSPOSE_CONV", "RELU"]]
    x = keras.Input((6, 6, 2))
    y = L.Conv2D(3, 3)(x)
    both = keras.Model(x, [y, L.ReLU()(y)])
    assert names(both, folder=tmp_path) == [["CONV_2D"], ["RELU"]]


def test_functions_of_one_value_are_one_table_in_8_bits_only(tmp_path):
    model = sequential(L.Conv2D(3, 3, activation="silu"))
    apart = [["CONV_2D"], ["LOGISTIC"], ["MUL"]]
    assert names(model, folder=tmp_path) == apart
    assert names(model, "int8", folder=tmp_path) == [
        ["CONV_2D"],
        ["LOGISTIC", "MUL"],
    ]


def test_functions_of_two_values_are_no_table(tmp_path):
    x = keras.Input((6, 6, 2))
    gate = L.Activation("sigmoid")(L.Conv2D(2, 1)(x))
    model = keras.Model(x, L.Multiply()([x, gate]))
    expected = [["CONV_2D"], ["LOGISTIC"], ["MUL"]]
    assert names(model, "int8", folder=tmp_path)[-3:] == expected


def test_what_decodes_weights_goes_with_their_reader(tmp_path):
    found = names(sequential(L.Conv2D(3, 3)), "float16", folder=tmp_path)
    assert found == [["DEQUANTIZE", "DEQUANTIZE", "CONV_2D"]]


def key(*layers, precision="float32", shape=(6, 6, 2), folder=None):
    (operation,) = fused(sequential(*layers, shape=shape), precision, folder)
    return operation.key


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_values_of_weights_are_not_in_keys(precision, tmp_path):
    """Nor are scales, which follow from them."""
    keys = set()
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        keys.add(key(L.Conv2D(3, 3), precision=precision, folder=tmp_path))
    assert len(keys) == 1


def test_keys_tell_apart_what_takes_other_times(tmp_path):
    keys = [
        key(L.Conv2D(3, 3), folder=tmp_path),
        key(L.Conv2D(3, 3, strides=2), folder=tmp_path),
        key(L.Conv2D(3, 3, padding="same"), folder=tmp_path),
        key(L.Conv2D(3, 3, dilation_rate=2), folder=tmp_path),
        key(L.Conv2D(3, 3, activation="relu"), folder=tmp_path),
        key(L.Conv2D(3, 3, activation="relu6"), folder=tmp_path),
        key(L.Conv2D(3, 3), precision="int8", folder=tmp_path),
        key(L.Conv2D(3, 3), precision="float16", folder=tmp_path),
        key(L.Conv2D(4, 3), folder=tmp_path),
        key(L.Conv2D(3, 3), shape=(6, 7, 2), folder=tmp_path),
        key(L.Permute((2, 1, 3)), shape=(4, 4, 4), folder=tmp_path),
        key(L.Permute((3, 2, 1)), shape=(4, 4, 4), folder=tmp_path),
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("precision", ["float32", "int8", "float16", "int16x8"])
def test_copies_compute_the_same_each(precision, tmp_path):
    """With their own weights: a copy that LiteRT omitted would differ."""
    model = sequential(
        L.ZeroPadding2D(1),
        L.Conv2D(3, 3, 2),
        L.Flatten(),
        L.Dense(5, activation="silu"),
    )
    for operation in fused(model, precision, tmp_path):
        content = operation.content(copies=3)
        (graph,) = read(content).subgraphs
        assert len(graph.operators) == 3 * len(operation.names)
        interpreter = loaded(content, 1, "the copies")
        set_examples(interpreter)
        interpreter.invoke()
        ends = interpreter.get_output_details()
        values = [interpreter.get_tensor(end["index"]) for end in ends]
        assert len(values) == 3
        assert values[0].min() < values[0].max()
        for other in values[1:]:
            np.testing.assert_array_equal(other, values[0])


def test_bytes_by_hand(tmp_path):
    (operation,) = fused(sequential(L.Conv2D(3, 3)), folder=tmp_path)
    # Kernel and bias; 4 x 4 positions of 3 channels.
    assert operation.constant_bytes == 4 * (3 * 3 * 2 * 3 + 3)
    assert operation.output_bytes == 4 * (4 * 4 * 3)
    (integers,) = fused(sequential(L.Conv2D(3, 3)), "int8", tmp_path)
    assert integers.constant_bytes == 3 * 3 * 2 * 3 + 4 * 3
    assert integers.output_bytes == 4 * 4 * 3


def test_a_loop_takes_its_graphs_along(tmp_path):
    model = sequential(L.GRU(4), shape=(5, 3))
    loops = [each for each in fused(model, folder=tmp_path) if "WHILE" in each.names]
    (loop,) = loops
    assert "FULLY_CONNECTED" in loop.key
    assert len(read(loop.content(2)).subgraphs) == 3


def test_files_hold_no_other_weights(tmp_path):
    model = sequential(L.Flatten(), L.Dense(300), L.Dense(3))
    first, second = fused(model, folder=tmp_path)[-2:]
    assert len(first.content()) > 4 * 72 * 300
    assert len(second.content()) < 4 * 300 * 3 + 3000
