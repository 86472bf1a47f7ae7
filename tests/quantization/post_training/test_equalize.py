import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.quantization.post_training import equalize

L = keras.layers


def uneven(model):
    """Scales every channel of every kernel differently."""
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if layer.weights and hasattr(layer, "kernel"):
            kernel = layer.kernel
            kernel.assign(kernel * 10 ** generator.uniform(-1, 1, kernel.shape[-1]))
            layer.bias.assign(generator.normal(size=layer.bias.shape))
    return model


def chain(activation):
    x = keras.Input((6, 6, 3))
    y = L.Conv2D(4, 3, padding="same", name="a")(x)
    y = activation()(y)
    y = L.DepthwiseConv2D(3, activation="relu", name="b")(y)
    y = L.MaxPooling2D(2)(L.ZeroPadding2D(1)(y))
    y = L.Conv2D(6, 1, groups=2, name="c")(y)
    y = L.Flatten()(L.LeakyReLU()(y))
    return uneven(keras.Model(x, L.Dense(5, name="d")(y)))


def ranges(model, first, second):
    """`max|W|` over the weights that produce and that read each channel."""
    made = model.get_layer(first).kernel.numpy()
    read = model.get_layer(second).kernel.numpy()
    if second == "b":
        read = np.abs(read).max(axis=(0, 1, 3))
    elif second == "c":
        # Two groups of 2 channels and 3 outputs.
        read = np.abs(read[0, 0]).reshape(2, 2, 3).max(axis=2).T.ravel()
    else:
        read = np.abs(read).reshape(-1, 6, 5).max(axis=(0, 2))
    if first == "b":
        made = made.swapaxes(2, 3)
    return np.abs(made).max(axis=(0, 1, 2)), read


def test_outputs_stay_and_channels_become_even():
    model = chain(L.ReLU)
    even = equalize(model)
    x = models.inputs(model, 8)
    assert models.difference(model, even, x) <= 1e-4 * np.abs(model(x)).max()
    for pair in (("a", "b"), ("c", "d")):
        before, after = ranges(model, *pair), ranges(even, *pair)
        assert np.abs(np.log(before[0] / before[1])).max() > 0.5
        np.testing.assert_allclose(*after, rtol=5e-3)


def test_relu6_is_left_alone_or_replaced():
    model = chain(lambda: L.ReLU(6.0))
    kept = equalize(model)
    np.testing.assert_array_equal(
        kept.get_layer("a").kernel, model.get_layer("a").kernel
    )
    replaced = equalize(model, replace_relu6=True)
    np.testing.assert_allclose(*ranges(replaced, "a", "b"), rtol=5e-3)
    unbounded = chain(L.ReLU)
    unbounded.set_weights(model.get_weights())
    x = models.inputs(model, 8)
    scale = np.abs(unbounded(x)).max()
    assert models.difference(unbounded, replaced, x) <= 1e-4 * scale


def test_what_others_read_too_stays():
    x = keras.Input((4,))
    y = L.Dense(4, name="a")(x)
    model = uneven(keras.Model(x, [L.Dense(3, name="b")(y), y]))
    even = equalize(model)
    np.testing.assert_array_equal(
        even.get_layer("a").kernel, model.get_layer("a").kernel
    )


def test_a_channel_that_nothing_makes_stays():
    model = keras.Sequential([keras.Input((2,)), L.Dense(2), L.Dense(1)])
    model.layers[0].kernel.assign([[0.0, 4.0], [0.0, 0.0]])
    model.layers[1].kernel.assign([[5.0], [1.0]])
    even = equalize(model)
    np.testing.assert_array_equal(even.layers[1].kernel, [[0.0, 2.0], [0.0, 0.0]])
    np.testing.assert_array_equal(even.layers[2].kernel, [[5.0], [2.0]])


def test_ranges_come_later():
    model = tfc.quantize_activations(models.sequential())
    model(models.inputs(model), training=True)
    with pytest.raises(ValueError, match="before tfc.quantize_activations"):
        equalize(model)


@pytest.mark.parametrize("cls", [L.AlphaDropout, L.GaussianNoise, L.GaussianDropout])
def test_channels_are_followed_through_what_does_nothing_at_inference(cls):
    x = keras.Input((1,))
    y = cls(0.5)(L.Dense(2, activation="relu", name="first")(x))
    model = keras.Model(x, L.Dense(1, name="second")(y))
    model.get_layer("first").kernel.assign([[8.0, 1.0]])
    model.get_layer("second").kernel.assign([[2.0], [4.0]])
    # sqrt(8 * 2) = 4 and sqrt(1 * 4) = 2 on both sides.
    even = equalize(model)
    np.testing.assert_allclose(even.get_layer("first").kernel, [[4, 2]])
    np.testing.assert_allclose(even.get_layer("second").kernel, [[4], [2]])


@pytest.mark.parametrize("ranges", ["moving_average", "learned_step"])
def test_models_with_any_ranges_are_refused(ranges):
    model = keras.Sequential([keras.Input((4,)), L.Dense(2)])
    ranged = tfc.quantize_activations(model, ranges=ranges)
    ranged(np.ones((2, 4), "float32"), training=True)
    with pytest.raises(ValueError, match="has activation ranges"):
        equalize(ranged)
