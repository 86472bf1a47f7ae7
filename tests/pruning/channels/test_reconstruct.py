"""Kernels that read from cut channels, fitted to their original outputs."""

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.core.agreement import copy_model
from tfcompress.pruning.channels.graph import ChannelGraph
from tfcompress.pruning.channels.reconstruct import fit_readers
from tfcompress.quantization.post_training.side_by_side import batches_of

L = keras.layers


def relayed(bias=True):
    """Hidden neurons, the last two of which are scaled copies of others."""
    x = keras.Input((3,))
    y = L.Dense(5, activation="relu", use_bias=bias, name="hidden")(x)
    model = keras.Model(x, L.Dense(4, use_bias=bias, name="head")(y))
    generator = np.random.default_rng(0)
    kernel = 2 * np.eye(3, 5) + 0.3 * generator.normal(size=(3, 5))
    kernel[:, 3], kernel[:, 4] = 0.5 * kernel[:, 0], 0.5 * kernel[:, 1]
    model.get_layer("hidden").kernel.assign(kernel)
    return model, models.inputs(model, 64)


@pytest.mark.parametrize("bias", [True, False])
def test_what_other_channels_know_too_is_not_lost(bias):
    model, x = relayed(bias)
    cut = tfc.prune_channels(model, ratio=0.4)
    fitted = tfc.prune_channels(model, ratio=0.4, reconstruct=x)
    kernel = model.get_layer("head").kernel.numpy()
    assert models.difference(model, cut, x) > 0.1
    # Damping pulls the fit slightly towards the cut kernel.
    assert models.difference(model, fitted, x) < 0.01
    expected = kernel[:3] + 0.5 * np.pad(kernel[3:], [(0, 1), (0, 0)])
    np.testing.assert_allclose(fitted.get_layer("head").kernel, expected, atol=0.01)
    # The model itself, and the layers that produce the channels, are unchanged.
    np.testing.assert_array_equal(model.get_layer("head").kernel, kernel)
    np.testing.assert_array_equal(
        fitted.get_layer("hidden").kernel, model.get_layer("hidden").kernel[:, :3]
    )


def test_enough_rows_are_those_of_the_first_samples():
    x = keras.Input((6, 6, 2))
    model = keras.Model(x, L.Conv2D(3, 3, name="b")(L.Conv2D(4, 3, name="a")(x)))
    graph = ChannelGraph(model)
    keep = np.ones(graph.num_units, bool)
    between = next(group for group in graph.groups if group.size == 4)
    keep[between.units[:2]] = False
    x = models.inputs(model, 16)

    def fitted(samples, most_rows=None):
        small, batches = copy_model(model), batches_of(model, samples)
        kernel = small.get_layer("a").kernel
        kernel.assign(kernel * [0, 0, 1, 1])
        fit_readers(graph, keep, small, batches, is_cut=False, most_rows=most_rows)
        return small.get_layer("b").kernel.numpy()

    # The second layer sees 4 windows of each sample.
    np.testing.assert_array_equal(fitted(x, most_rows=30), fitted(x[:8]))
    assert not np.array_equal(fitted(x, most_rows=30), fitted(x))


def test_a_bias_makes_good_the_mean_of_a_channel_that_nothing_else_knows():
    model = keras.Sequential(
        [keras.Input((2,)), L.Dense(2, name="hidden"), L.Dense(1, name="head")]
    )
    hidden, head = model.layers
    hidden.kernel.assign(np.diag([5.0, 1.0]))
    hidden.bias.assign([0.0, 3.0])
    head.kernel.assign([[1.0], [2.0]])
    x = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], "float32")
    fitted = tfc.prune_channels(model, ratio=0.5, reconstruct=x).get_layer("head")
    np.testing.assert_allclose(fitted.kernel, [[1.0]], rtol=1e-5)
    np.testing.assert_allclose(fitted.bias, [6.0], rtol=1e-5)


def network():
    """Coupled channels, batch norms, a depthwise and a grouped convolution, Flatten."""
    x = keras.Input((8, 8, 3), name="image")
    y = L.Conv2D(12, 3, padding="same", use_bias=False, name="stem")(x)
    y = L.ReLU()(L.BatchNormalization(name="norm0")(y))
    z = L.Conv2D(16, 3, padding="same", use_bias=False, name="a")(y)
    z = L.ReLU()(L.BatchNormalization(name="norm1")(z))
    z = L.DepthwiseConv2D(3, padding="same", name="depthwise")(z)
    z = L.Conv2D(12, 1, use_bias=False, name="b")(z)
    y = L.ReLU()(L.Add()([y, L.BatchNormalization(name="norm2")(z)]))
    y = L.Conv2D(12, 3, 2, groups=2, name="grouped")(y)
    y = L.Flatten()(L.ReLU()(y))
    return keras.Model(x, L.Dense(4, name="head")(y))


def patterns(count, seed):
    """Images of four kinds of waves, with noise."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 4, count)
    place = np.arange(8)
    waves = np.stack(
        [
            np.sin(place * 1.5)[:, None] + 0 * place,
            np.sin(place * 1.5)[None] + 0 * place[:, None],
            np.sin(0.8 * (place[:, None] + place)),
            np.sin(0.8 * (place[:, None] - place)),
        ]
    )
    x = waves[y][..., None] * generator.normal(1, 0.3, size=(count, 1, 1, 3))
    return (x + generator.normal(size=x.shape)).astype("float32"), y


def test_a_trained_network_loses_less():
    keras.utils.set_random_seed(0)
    model = models.compile(network())
    model.fit(*patterns(512, 0), batch_size=16, epochs=2, verbose=0)
    x, y = patterns(256, 1)
    samples, _ = patterns(192, 2)

    def lost(small):
        return float(np.mean((small(x) - model(x)) ** 2))

    def accuracy(small):
        return float(np.mean(np.argmax(small(x), axis=1) == y))

    cut = tfc.prune_channels(model, ratio=0.4)
    measured = tfc.prune_channels(model, ratio=0.4, data=[samples])
    still = tfc.prune_channels(model, ratio=0.4, reconstruct=samples, recalibrate=False)
    fitted = tfc.prune_channels(model, ratio=0.4, reconstruct=samples)
    assert [w.shape for w in fitted.weights] == [w.shape for w in cut.weights]
    assert lost(fitted) < 0.6 * min(lost(cut), lost(measured))
    assert lost(fitted) < lost(still)
    assert accuracy(fitted) >= max(accuracy(cut), accuracy(measured))


@pytest.mark.parametrize(
    "build",
    [models.residual, models.recurrent, models.subclassed],
    ids=lambda build: build.__name__,
)
def test_every_kind_of_model_is_fitted(build):
    model = build()
    x = models.inputs(model, 16)
    fitted = tfc.prune_channels(model, ratio=0.3, reconstruct=x)
    assert np.isfinite(fitted(x)).all()
