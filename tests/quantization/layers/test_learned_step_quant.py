import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.quantization.layers import LearnedStepQuant


def test_by_hand():
    layer = LearnedStepQuant(bits=2)
    first = tf.constant([[0.0, 1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(layer(first), first)
    layer(first, training=True)
    # high = 3, mean|x| = 1.5
    np.testing.assert_allclose(layer.step, [2 * 1.5 / np.sqrt(3)], rtol=1e-6)
    layer.step.assign([1.0])
    x = tf.constant([[-1.0, 0.4, 1.75, 9.0], [0.0, 0.0, 0.0, 2.25]])
    upstream = tf.constant([[1.0, 2.0, 4.0, 8.0], [0.0, 0.0, 0.0, 16.0]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
        loss = tf.reduce_sum(y * upstream)
    np.testing.assert_allclose(y, [[0.0, 0.0, 2.0, 3.0], [0.0, 0.0, 0.0, 2.0]])
    latent, step = tape.gradient(loss, [x, layer.step.value])
    np.testing.assert_array_equal(latent, upstream * [[0, 1, 1, 0], [0, 0, 0, 1]])
    # d = 0, -0.4, 0.25, 3 and -0.25; N = 4 activations of an example
    expected = (2 * -0.4 + 4 * 0.25 + 8 * 3 + 16 * -0.25) / np.sqrt(4 * 3)
    np.testing.assert_allclose(step, [expected], rtol=1e-5)


def test_negative_activations_get_levels_on_both_sides():
    layer = LearnedStepQuant(bits=3)
    layer(tf.constant([[-1.0, 3.0]]), training=True)
    layer.step.assign([0.5])
    assert layer.range() == (-2.0, 1.5)
    np.testing.assert_array_equal(layer(np.float32([[-9.0, 9.0]])), [[-2.0, 1.5]])
    # What comes later changes neither the levels nor the step.
    layer(tf.constant([[100.0, 100.0]]), training=True)
    assert layer.range() == (-2.0, 1.5)


@pytest.mark.parametrize("bits", [4, 8])
def test_trained_steps_are_saved_stripped_and_exported_as_int8(bits, tmp_path):
    x = keras.Input((8,), name="x")
    a = keras.layers.Dense(6, activation="relu", name="a")(x)
    b = keras.layers.Dense(6, name="b")(x)
    y = keras.layers.Concatenate(name="both")([a, b])
    model = keras.Model(x, keras.layers.Dense(5, name="head")(y))
    model = tfc.compress(model, {".*": tfc.transforms.Uniform(8)})
    model = tfc.quantize_activations(model, bits, ranges="learned_step")
    steps = [layer for layer in model.layers if isinstance(layer, LearnedStepQuant)]
    assert len(steps) == 3
    values = models.inputs(model, 64)
    models.compile(model).fit(values, models.classes(64), epochs=2, verbose=0)
    started = [layer.step.numpy() for layer in steps]
    model.fit(values, models.classes(64), verbose=0)
    assert all(
        old != layer.step.numpy() for old, layer in zip(started, steps, strict=True)
    )

    model.save(tmp_path / "m.keras")
    restored = keras.models.load_model(tmp_path / "m.keras")
    assert models.difference(model, restored, values) == 0
    assert models.difference(model, tfc.strip(model), values) <= 1e-5
    result = tfc.export_tflite(model, tmp_path / "m.tflite", "int8", samples=values)
    assert result.float_operations == {}
    assert result.mean_error < 0.02
