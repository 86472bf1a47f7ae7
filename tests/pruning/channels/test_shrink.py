import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models

L = keras.layers


def randomise(model, seed=0):
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        low = 0.5 if "variance" in weight.name else -1.0
        weight.assign(generator.uniform(low, 1.0, weight.shape))


def drop(layer, channels):
    """Makes filters zero, whatever their bias is."""
    kernel = layer.kernel.numpy()
    kernel[..., channels] = 0.0
    layer.kernel.assign(kernel)


def check_same(model, small, tolerance=1e-5):
    x = models.inputs(model, 8)
    expected, found = model(x).numpy(), small(x).numpy()
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


def image_network(padding="same", strides=1, activation="relu"):
    x = keras.Input((9, 9, 3))
    y = L.Conv2D(8, 3, padding="same", activation=activation, name="a")(x)
    y = L.Conv2D(6, 3, padding=padding, strides=strides, name="b")(y)
    y = L.ReLU()(L.BatchNormalization()(y))
    y = L.Dense(8, activation="tanh", name="c")(L.Flatten()(y))
    model = keras.Model(x, L.Dense(4, name="head")(y))
    randomise(model)
    return model


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "sigmoid"])
def test_zero_filters_with_biases_go(padding, activation):
    model = image_network(padding, activation=activation)
    drop(model.get_layer("a"), [1, 4, 5])
    drop(model.get_layer("b"), [0, 3])
    drop(model.get_layer("c"), [2])
    small = tfc.shrink(model)
    check_same(model, small)
    sizes = [small.get_layer(name).kernel.shape[-1] for name in "abc"]
    # If padding differs from the constant, one channel stays to represent it.
    constant = np.count_nonzero(model.get_layer("a").bias.numpy()[[1, 4, 5]] > 0)
    stays = padding == "same" and (activation != "relu" or constant)
    assert sizes == [6 if stays else 5, 4, 7]


def test_channels_that_nothing_reads_go_with_all_that_made_them():
    model = image_network()
    kernel = model.get_layer("b").kernel.numpy()
    kernel[..., 2:6, :] = 0.0
    model.get_layer("b").kernel.assign(kernel)
    small = tfc.shrink(model)
    check_same(model, small, 1e-6)
    assert small.get_layer("a").filters == 4


def test_what_is_read_only_by_what_goes_goes_too():
    x = keras.Input((4,))
    y = L.Dense(6, name="a")(x)
    y = L.Dense(5, name="b")(y)
    model = keras.Model(x, L.Dense(2, name="head")(y))
    randomise(model)
    kernel = model.get_layer("b").kernel.numpy()
    kernel[0, 1:] = 0.0  # Only the first of b reads the first of a,
    model.get_layer("b").kernel.assign(kernel)
    kernel = model.get_layer("head").kernel.numpy()
    kernel[0] = 0.0  # and nothing reads the first of b.
    model.get_layer("head").kernel.assign(kernel)
    small = tfc.shrink(model)
    check_same(model, small)
    assert (small.get_layer("a").units, small.get_layer("b").units) == (5, 4)


def test_a_constant_is_added_to_the_bias_behind():
    x = keras.Input((1,))
    model = keras.Model(x, L.Dense(1)(L.Dense(2)(x)))
    models.set_weights(model, [[[1.0, 0.0]], [5.0, 3.0], [[1.0], [10.0]], [2.0]])
    weights = tfc.shrink(model).get_weights()
    expected = [[[1.0]], [5.0], [[1.0]], [2.0 + 3.0 * 10.0]]
    for weight, value in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_channels_of_a_shortcut_go_if_both_sides_are_zero():
    x = keras.Input((6, 6, 3))
    y = L.BatchNormalization()(L.Conv2D(8, 3, padding="same", name="a")(x))
    z = L.Conv2D(8, 3, padding="same", use_bias=False, name="b")(L.ReLU()(y))
    y = L.Add()([y, L.BatchNormalization()(z)])
    model = keras.Model(x, L.Dense(3)(L.GlobalAveragePooling2D()(y)))
    randomise(model)
    drop(model.get_layer("a"), [0, 1, 2, 3])
    drop(model.get_layer("b"), [2, 3, 4, 5])
    small = tfc.shrink(model)
    check_same(model, small)
    # 2 and 3 are constant; one of them stays for the padding of b, if it must.
    assert small.get_layer("a").filters in (6, 7)


def test_a_gate_of_zero_makes_a_channel_zero():
    x = keras.Input((6, 6, 3))
    y = L.Conv2D(4, 3, use_bias=False, name="a")(x)
    gate = L.Dense(4, activation="sigmoid")(L.GlobalAveragePooling2D()(y))
    y = L.Multiply()([y, L.Reshape((1, 1, 4))(gate)])
    model = keras.Model(x, L.Conv2D(2, 3, padding="same", name="head")(y))
    randomise(model)
    drop(model.get_layer("a"), [1, 2])
    small = tfc.shrink(model)
    check_same(model, small)
    assert small.get_layer("a").filters == 2


def test_statistics_over_channels_count_zeros():
    x = keras.Input((4,))
    y = L.LayerNormalization()(L.Dense(6, name="a")(x))
    model = keras.Model(x, L.Dense(2)(y))
    randomise(model)
    drop(model.get_layer("a"), [0])
    model.get_layer("a").bias.assign(np.zeros(6))
    small = tfc.shrink(model)
    check_same(model, small, 1e-6)
    assert small.get_layer("a").units == 6


def test_padding_before_a_depthwise_convolution_keeps_constants():
    x = keras.Input((6, 6, 3))
    y = L.Conv2D(4, 1, name="a")(x)
    y = L.DepthwiseConv2D(3, padding="same")(y)
    model = keras.Model(x, L.Conv2D(2, 1, name="head")(y))
    randomise(model)
    drop(model.get_layer("a"), [1])
    small = tfc.shrink(model)
    check_same(model, small, 1e-6)
    assert small.get_layer("a").filters == 4
    model.get_layer("a").bias.assign(np.zeros(4))
    small = tfc.shrink(model)
    check_same(model, small)
    assert small.get_layer("a").filters == 3


def test_units_of_recurrent_layers_and_heads():
    x = keras.Input((5, 4))
    y = L.LSTM(6, return_sequences=True, name="lstm")(x)
    y = L.MultiHeadAttention(3, 2, name="attention")(y, y)
    model = keras.Model(x, L.Dense(2)(L.GRU(4, name="gru")(y)))
    randomise(model)
    for name, unit in (("lstm", 2), ("gru", 0)):
        cell = model.get_layer(name).cell
        column = 2 * cell.units + unit  # of the candidate gate
        for weight in (cell.kernel, cell.recurrent_kernel, cell.bias):
            value = weight.numpy()
            value[..., column] = 0.0
            weight.assign(value)
    for weight in (
        model.get_layer("attention").value_dense.kernel,
        model.get_layer("attention").value_dense.bias,
    ):
        value = weight.numpy()
        value[..., 1, :] = 0.0
        weight.assign(value)
    small = tfc.shrink(model)
    check_same(model, small)
    assert small.get_layer("lstm").units == 5
    assert small.get_layer("gru").units == 3
    assert small.get_layer("attention").num_heads == 2


def test_a_shared_layer_gets_no_constants_of_one_call():
    shared = L.Dense(3, name="shared")
    x = keras.Input((3,))
    y = shared(L.Dense(3, name="a")(x))
    model = keras.Model(x, L.Dense(2)(shared(y)))
    randomise(model)
    drop(model.get_layer("a"), [0])
    small = tfc.shrink(model)
    check_same(model, small, 1e-6)


def test_one_channel_always_stays():
    x = keras.Input((4,))
    model = keras.Model(x, L.Dense(2)(L.Dense(6, activation="relu", name="a")(x)))
    randomise(model)
    drop(model.get_layer("a"), range(6))
    small = tfc.shrink(model)
    check_same(model, small)
    assert small.get_layer("a").units == 1


def test_a_model_without_zeros_stays_bit_for_bit():
    model = image_network()
    check_same(model, tfc.shrink(model), 0)


@pytest.mark.parametrize("pattern", ["filter", "kernel", "strided"])
def test_what_patterns_mask_is_taken_out(pattern):
    model = tfc.compress(image_network(), {"[abc]": "mask"})
    pruning = tfc.callbacks.Pruning(0.7, pattern=pattern)
    pruning.set_model(model)
    pruning.prune(0.7)
    small = tfc.shrink(model)
    check_same(model, small)
    if pattern == "strided":
        assert small.get_layer("a").kernel.shape[:2] in [(1, 1), (2, 2), (1, 2), (2, 1)]
    if pattern == "filter":
        assert small.get_layer("b").filters <= 3


def test_trained_under_filter_masks(tmp_path):
    model = tfc.compress(models.sequential(), {"conv": "mask"})
    models.compile(model)
    x, y = models.inputs(model, 32), models.classes(32)
    pruning = tfc.callbacks.Pruning(0.5, pattern="filter")
    model.fit(x, y, epochs=2, verbose=0, callbacks=[pruning])
    small = tfc.shrink(model)
    check_same(model, small)
    tfc.export_tflite(small, tmp_path / "small.tflite")
