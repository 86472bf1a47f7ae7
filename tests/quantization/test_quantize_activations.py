import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.quantization.layers import FakeQuant

L = keras.layers


def ranges(model):
    return {layer.name for layer in model.layers if isinstance(layer, FakeQuant)}


def quantized(outputs, inputs):
    return tfc.quantize_activations(keras.Model(inputs, outputs))


def test_one_range_behind_what_the_converter_fuses():
    x = keras.Input((8, 8, 3), name="x")
    y = L.Conv2D(4, 3, name="conv")(x)
    y = L.BatchNormalization(name="norm")(y)
    y = L.ReLU(name="relu")(y)
    y = L.DepthwiseConv2D(3, activation="relu", name="depthwise")(y)
    z = L.Conv2D(4, 1, name="side")(y)
    y = L.Add(name="add")([y, z])
    y = L.ReLU(6, name="relu6")(y)
    y = L.MaxPooling2D(name="maximum")(y)
    y = L.GlobalAveragePooling2D(name="mean")(y)
    y = L.Dense(3, name="head")(y)
    expected = {"x", "relu", "depthwise", "side", "maximum", "mean", "head"}
    assert ranges(quantized(y, x)) == {f"{name}_range" for name in expected}


def test_a_max_pooling_takes_the_range_of_what_only_it_reads():
    x = keras.Input((8, 8, 3), name="x")
    y = L.Conv2D(4, 3, activation="relu", name="conv")(x)
    model = quantized(L.MaxPooling2D(name="pool")(y), x)
    assert ranges(model) == {"x_range", "pool_range"}
    model = quantized([L.MaxPooling2D(name="pool")(y), y], x)
    assert ranges(model) == {"x_range", "conv_range"}


def test_a_result_used_twice_keeps_its_own_range():
    x = keras.Input((4,), name="x")
    y = L.Dense(4, name="a")(x)
    y = L.Add(name="add")([y, L.ReLU(name="relu")(y)])
    assert ranges(quantized(y, x)) == {"x_range", "a_range", "relu_range", "add_range"}


def test_concatenation_shares_one_range_that_spans_all():
    x = keras.Input((4,), name="x")
    a, b = L.Dense(3, name="a")(x), L.Dense(3, name="b")(x)
    model = quantized(L.Dense(2, name="head")(L.Concatenate(name="both")([a, b])), x)
    assert ranges(model) == {"x_range", "a_range", "head_range"}
    shared = model.get_layer("a_range")
    assert shared.sites == 2
    model.get_layer("a").kernel.assign(np.eye(4)[:, :3])
    model.get_layer("b").kernel.assign(-10 * np.eye(4)[:, :3])
    model(np.array([[1.0, 2.0, 3.0, 0.0]], "float32"), training=True)
    assert shared.range() == (-30.0, 3.0)


def test_activations_that_run_by_themselves_are_split_off():
    x = keras.Input((4,), name="x")
    model = quantized(L.Dense(3, activation="softmax", name="head")(x), x)
    assert ranges(model) == {"x_range", "head_range", "head_softmax_range"}
    assert model.get_layer("head_softmax_range").range() == (0.0, 255 / 256)


def test_separable_convolutions_have_a_range_in_the_middle():
    x = keras.Input((8, 8, 3), name="x")
    model = quantized(L.SeparableConv2D(4, 3, activation="relu", name="pair")(x), x)
    assert ranges(model) == {"x_range", "pair_depthwise_range", "pair_range"}


def test_no_activation_is_fused_into_a_transposed_convolution():
    x = keras.Input((8, 8, 3), name="x")
    model = quantized(L.Conv2DTranspose(4, 2, activation="relu", name="up")(x), x)
    assert ranges(model) == {"x_range", "up_range", "up_relu_range"}


def test_predictions_are_the_same_until_ranges_are_seen():
    # The fixed range of a softmax always rounds, by up to half a step of 1/256.
    for build, allowed in (
        (models.sequential, 1e-6),
        (models.residual, 0.5 / 256 + 1e-6),
        (models.nested, 1e-6),
    ):
        model = build()
        x = models.inputs(model)
        rounded = tfc.quantize_activations(model)
        assert models.difference(model, rounded, x) <= allowed
        rounded(x, training=True)
        assert models.difference(model, rounded, x) > 0


def test_trained_ranges_survive_saving_and_stripping(tmp_path):
    model = tfc.quantize_activations(tfc.compress(models.residual(), {".*": "uniform"}))
    x = models.inputs(model, 32)
    models.compile(model).fit(x, models.classes(32), epochs=2, verbose=0)
    model.save(tmp_path / "m.keras")
    restored = keras.models.load_model(tmp_path / "m.keras")
    assert models.difference(model, restored, x) == 0
    plain = tfc.strip(model)
    assert models.difference(model, plain, x) <= 1e-6
    assert not any("tfcompress" in type(op).__module__ for op in plain.operations)
    plain.save(tmp_path / "p.keras")
    assert (
        models.difference(plain, keras.models.load_model(tmp_path / "p.keras"), x)
        <= 1e-6
    )


def test_moving_average_by_hand():
    layer = FakeQuant(momentum=0.9)
    layer(np.array([-1.0, 2.0], "float32"), training=True)
    assert layer.range() == (-1.0, 2.0)
    layer(np.array([-2.0, 4.0], "float32"), training=True)
    np.testing.assert_allclose(layer.range(), (-1.1, 2.2), rtol=1e-6)
    layer(np.array([-9.0, 9.0], "float32"), training=False)
    np.testing.assert_allclose(layer.range(), (-1.1, 2.2), rtol=1e-6)


def test_learned_ranges_start_at_the_first_batch_and_take_gradients():
    layer = FakeQuant(bits=4, ranges="learned")
    x = tf.constant([-3.0, -1.0, 0.5, 2.0, 5.0])
    layer(tf.constant([-2.0, 4.0]), training=True)
    upstream = tf.constant([1.0, 10.0, 100.0, 1000.0, 10000.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer(x, training=True) * upstream)
    gradient, low, high = tape.gradient(
        loss, [x, layer.minimum.value, layer.maximum.value]
    )
    np.testing.assert_array_equal(gradient, [0.0, 10.0, 100.0, 1000.0, 0.0])
    np.testing.assert_array_equal(low, [1.0])
    np.testing.assert_array_equal(high, [10000.0])
    assert layer.range() == (-2.0, 4.0)


def test_rounding_by_hand():
    layer = FakeQuant(bits=2, ranges=(-1.0, 2.0))
    y = layer(np.array([-5.0, -0.6, 0.0, 0.4, 0.6, 1.6, 9.0], "float32"))
    np.testing.assert_allclose(y, [-1.0, -1.0, 0.0, 0.0, 1.0, 2.0, 2.0])


def test_half_precision_goes_in_and_out():
    layer = FakeQuant(ranges=(0.0, 1.0))
    assert layer(tf.constant([0.3], tf.float16)).dtype == tf.float16


def test_a_subclassed_model_of_keras_calls_becomes_functional():
    model = models.subclassed()
    ranged = tfc.quantize_activations(model)
    assert any(isinstance(layer, FakeQuant) for layer in ranged.layers)
    assert models.difference(model, ranged, models.inputs(model)) == 0


@pytest.mark.parametrize(
    "arguments",
    [{"bits": 1}, {"ranges": "guessed"}, {"ranges": (1.0, 2.0)}, {"momentum": 1.0}],
)
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        FakeQuant(**arguments)


@pytest.mark.parametrize("cls", [L.AlphaDropout, L.GaussianNoise, L.Dropout])
def test_what_does_nothing_at_inference_has_no_range_of_its_own(cls):
    x = keras.Input((4,), name="x")
    y = L.Dense(3, name="dense")(cls(0.5, name="passive")(x))
    assert ranges(quantized(y, x)) == {"x_range", "dense_range"}


def test_indices_that_come_as_floats_are_not_rounded():
    x = keras.Input((6,), name="x")
    model = keras.Model(
        x, L.Dense(3, name="head")(L.Embedding(100, 8, name="table")(x))
    )
    indices = np.random.default_rng(0).integers(0, 100, (32, 6)).astype("float32")
    quantized = tfc.quantize_activations(model, ranges="min_max", samples=indices)
    assert ranges(quantized) == {"table_range", "head_range"}
    assert models.difference(model, quantized, indices) < 0.01


def test_numbers_that_choose_a_category_are_not_rounded():
    x = keras.Input((1,), name="x")
    moved = keras.ops.convert_to_tensor(x)
    buckets = L.Discretization([0.1, 0.2, 0.3], output_mode="one_hot", name="bucket")
    model = keras.Model(x, L.Dense(3, name="head")(buckets(moved)))
    # Rounded to 8 bits of 100, these would all be 0 or 0.4.
    values = np.float32([[0.05], [0.15], [0.25], [0.35], [100]])
    quantized = tfc.quantize_activations(model, ranges="min_max", samples=values)
    assert ranges(quantized) == {"bucket_range", "head_range"}
    assert models.difference(model, quantized, values) < 0.01


@pytest.mark.parametrize("layer", [L.GRU, L.LSTM])
def test_ranges_of_recurrent_layers_are_those_of_their_values(layer):
    keras.utils.set_random_seed(0)
    x = keras.Input((6, 4), name="x")
    model = keras.Model(x, L.Dense(3, name="head")(layer(8, name="hidden")(x)))
    samples = 0.01 * np.random.default_rng(0).normal(size=(64, 6, 4)).astype("float32")
    quantized = tfc.quantize_activations(model, ranges="min_max", samples=samples)
    # Not those of the hyperbolic tangent inside it.
    assert quantized.get_layer("hidden_range").maximum.numpy().max() < 0.1
    largest = np.abs(model(samples)).max()
    assert models.difference(model, quantized, samples) < 0.05 * largest
