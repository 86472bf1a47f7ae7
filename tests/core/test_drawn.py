"""Layers whose outputs are drawn instead of their weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.core.compressed import treatments
from tfcompress.pruning.channels.gates import ChannelScale
from tfcompress.transforms import GaussianWeights

L = keras.layers
_DRAWS = 4000


def drawn(layer, shape, transform=None):
    """A compressed layer with one kernel and a deviation of 0.5."""
    model = keras.Sequential([keras.Input(shape), layer])
    if getattr(layer, "use_bias", False):
        layer.bias.assign(np.arange(1.0, 1 + layer.bias.shape[0]))
    rule = ".*" if hasattr(layer, "kernel") else ".*/scale"
    transform = transform or GaussianWeights(10, initial_log_variance=np.log(0.25))
    return tfc.compress(model, {rule: transform})


def test_outputs_of_a_dense_layer_have_their_own_mean_and_variance():
    model = drawn(L.Dense(2, activation="relu"), (3,))
    x = np.tile(np.array([[1.0, -2.0, 3.0]], "float32"), (_DRAWS, 1))
    mean = 20 + x[0] @ model.layers[0].layer.kernel.numpy()
    model.layers[0].layer.bias.assign([20.0, 20.0])
    y = model(x, training=True).numpy()
    np.testing.assert_allclose(y.mean(axis=0), mean, atol=0.2)
    # No variance of the bias, and the activation comes last.
    np.testing.assert_allclose(y.var(axis=0), 0.25 * 14, rtol=0.1)
    # Each example has its own draw, and each output.
    assert np.abs(np.corrcoef(y.T)[0, 1]) < 0.1
    assert np.unique(y[:, 0]).size > 0.9 * _DRAWS
    model.layers[0].layer.bias.assign([-20.0, -20.0])
    assert not model(x, training=True).numpy().any()
    assert model.layers[0].layer.activation is keras.activations.relu


@pytest.mark.parametrize(
    "layer",
    [L.Conv2D(2, 3, strides=2, padding="same"), L.DepthwiseConv2D(3, padding="same")],
    ids=lambda layer: type(layer).__name__,
)
def test_variance_of_a_convolution_is_that_of_its_window(layer):
    model = drawn(layer, (4, 4, 2))
    x = np.tile(np.random.default_rng(0).normal(size=(1, 4, 4, 2)), (_DRAWS, 1, 1, 1))
    y = model(x.astype("float32"), training=True).numpy()
    np.testing.assert_allclose(y.mean(axis=0), model(x[:1]).numpy()[0], atol=0.25)
    inner = model.layers[0].layer
    inner.kernel.assign(np.full(inner.kernel.shape, 0.25))
    inner.bias.assign(np.zeros(2))
    np.testing.assert_allclose(y.var(axis=0), inner(x[:1] ** 2).numpy()[0], rtol=0.15)


def test_gates_have_a_draw_for_each_example_and_one_for_all_positions():
    model = drawn(ChannelScale(), (2, 2, 3))
    y = model(np.ones((_DRAWS, 2, 2, 3), "float32"), training=True).numpy()
    assert (y == y[:, :1, :1]).all()
    np.testing.assert_allclose(y.var(axis=0)[0, 0], 0.25, rtol=0.1)
    assert np.unique(y[:, 0, 0, 0]).size > 0.9 * _DRAWS


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_trains_where_outputs_or_weights_are_drawn(policy):
    keras.config.set_dtype_policy(policy)
    model = tfc.compress(
        models.sequential(), {".*": ["mask", {"gaussian_weights": {"num_samples": 8}}]}
    )
    x = models.inputs(model, 8)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.cast(model(x, training=True), "float32") ** 2)
    variables = [v.value for v in model.trainable_variables]
    gradients = tape.gradient(loss, variables)
    assert all(np.isfinite(g).all() and np.any(g) for g in gradients)


def test_a_transform_that_follows_sees_drawn_weights():
    model = drawn(L.Dense(2, use_bias=False), (3,))
    first = treatments(model)[0][1].transforms[0]
    model = drawn(L.Dense(2, use_bias=False), (3,), transform=[first, "uniform"])
    y = model(np.ones((5, 3), "float32"), training=True).numpy()
    assert (y == y[0]).all()
    assert (y != model(np.ones((1, 3), "float32")).numpy()).any()
