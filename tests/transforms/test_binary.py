import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.core.compressed import treatments
from tfcompress.transforms import Binary, Mask


def random_kernel(shape=(30, 4), seed=0):
    return np.random.default_rng(seed).uniform(-1.3, 1.3, shape).astype("float32")


def test_signs_and_their_gradient():
    kernel = random_kernel()
    treatment = models.dense_treatment(kernel, Binary())
    np.testing.assert_array_equal(treatment(), np.sign(kernel))
    upstream = random_kernel(seed=1)
    expected = upstream * (np.abs(kernel) <= 1)
    np.testing.assert_array_equal(models.gradients(treatment, upstream), expected)


def test_scale_by_hand():
    treatment = models.dense_treatment([[0.5, -0.5], [-1.0, 0.3]], Binary("mean"))
    np.testing.assert_allclose(treatment(), [[0.75, -0.4], [-0.75, 0.4]])
    gradient = models.gradients(treatment, np.array([[1.0, 0.0], [4.0, 0.0]], "f"))
    # 0.75 * 1 + (1 - 4) / 2 and 0.75 * 4 - (1 - 4) / 2
    np.testing.assert_allclose(gradient, [[-0.75, 0.0], [4.5, 0.0]])


def test_scale_closed_form():
    kernel, upstream = random_kernel(), random_kernel(seed=1)
    treatment = models.dense_treatment(kernel, Binary("mean"))
    scale = np.abs(kernel).mean(axis=0)
    np.testing.assert_allclose(treatment(), scale * np.sign(kernel), rtol=1e-6)
    through_mean = np.sign(kernel) * (np.sign(kernel) * upstream).mean(axis=0)
    expected = (np.abs(kernel) <= 1) * scale * upstream + through_mean
    gradient = models.gradients(treatment, upstream)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_scale_of_a_convolution_is_one_a_filter():
    model = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(5, 3)])
    ((_, treatment),) = treatments(tfc.compress(model, {".*": Binary("mean")}))
    kernel = treatment.variable.numpy()
    scale = np.abs(kernel).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(treatment(), scale * np.sign(kernel), rtol=1e-5)


@pytest.mark.parametrize("arguments", [{}, {"stochastic": True}, {"scale": "mean"}])
def test_pruned_weights_stay_zero_and_do_not_count(arguments):
    kernel = np.array([[0.5], [-0.25], [0.0], [0.0]])
    treatment = models.dense_treatment(kernel, Mask(), Binary(**arguments))
    size = 0.375 if "scale" in arguments else 1.0
    value = np.ravel(treatment(training=True))
    np.testing.assert_array_equal(np.abs(value), [size, size, 0.0, 0.0])


def test_a_drawn_zero_is_positive():
    kernel = random_kernel((1001, 2))
    kernel[7, 1] = 0.0
    value = models.dense_treatment(kernel, Binary())()
    assert value.numpy()[7, 1] == 1.0
    np.testing.assert_array_equal(np.abs(value), 1.0)
    masked = np.where(np.arange(2002).reshape(1001, 2) % 100, kernel, 0.0)
    value = models.dense_treatment(masked, Binary())()
    np.testing.assert_array_equal(value == 0, masked == 0)


def fitted(transform, **arguments):
    layer = keras.layers.Dense(4, use_bias=False, **arguments)
    model = keras.Sequential([keras.Input((6,)), layer])
    model = tfc.compress(model, {".*": transform})
    model.compile(keras.optimizers.SGD(50.0), "mse")
    x = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
    model.fit(x, x[:, :4], epochs=2, verbose=0)
    return treatments(model)[0][1].variable.numpy()


@pytest.mark.parametrize("scale", [None, "mean"])
def test_latent_weights_are_clipped_while_training(scale):
    assert np.abs(fitted(Binary(scale))).max() == 1.0


def test_a_constraint_of_the_layer_goes_on():
    latent = fitted(Binary(), kernel_constraint="non_neg")
    assert latent.min() == 0.0
    assert latent.max() == 1.0


def test_draws_have_the_hard_sigmoid_as_probability():
    row = np.array([-1.5, -1.0, -0.5, 0.2, 1.0, 1.5])
    kernel = np.tile(row, (20000, 1))
    treatment = models.dense_treatment(kernel, Binary(stochastic=True, seed=1))
    drawn = treatment(training=True).numpy()
    assert set(np.unique(drawn)) == {-1.0, 1.0}
    expected = np.clip((row + 1) / 2, 0, 1)
    np.testing.assert_allclose((drawn > 0).mean(axis=0), expected, atol=0.015)
    assert (drawn != treatment(training=True).numpy()).any()
    np.testing.assert_array_equal(treatment(), np.sign(kernel))
    np.testing.assert_array_equal(treatment.bake(), np.sign(kernel))
    upstream = np.ones_like(drawn)
    gradient = models.gradients(treatment, upstream, training=True)
    np.testing.assert_array_equal(gradient, np.abs(kernel) <= 1)


def test_draws_find_binary_weights():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(512, 20)).astype("float32")
    target = np.sign(generator.normal(size=(20, 3))).astype("float32")
    layer = keras.layers.Dense(3, use_bias=False)
    model = keras.Sequential([keras.Input((20,)), layer])
    model = tfc.compress(model, {".*": Binary(stochastic=True)})
    model.compile(keras.optimizers.Adam(0.02), "mse")
    model.fit(x, x @ target, epochs=8, verbose=0)
    np.testing.assert_array_equal(tfc.strip(model).layers[0].kernel, target)


def test_a_seed_fixes_the_draws():
    kernel = random_kernel() / 4
    draws = [
        models.dense_treatment(kernel, Binary(stochastic=True, seed=3))(True)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*draws)


def test_stochastic_models_train_and_reload(tmp_path):
    model = tfc.compress(models.subclassed(), {".*": Binary(stochastic=True)})
    generators = [
        t.seed_generator.state for _, w in treatments(model) for t in w.transforms
    ]
    states = {id(v) for v in model.variables}
    assert all(id(state) in states for state in generators)
    x = models.inputs(model)
    # XLA draws too.
    models.compile(model, jit_compile=True).fit(x, models.classes(len(x)), verbose=0)
    assert all(state.numpy()[1] > 0 for state in generators)
    assert models.difference(model, tfc.strip(model), x) <= 1e-6
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    assert models.difference(model, restored, x) == 0


def test_unknown_scale():
    with pytest.raises(ValueError, match="expected 'mean' or None"):
        Binary(scale="max")
