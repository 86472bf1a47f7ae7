import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models

L = keras.layers
MASKS = {".*": "mask", ".*/bias": "mask", ".*/gamma": "mask", ".*/beta": "mask"}


def mobile():
    """Inverted residual blocks with equal names, one of them in a nested model."""
    x = keras.Input((8, 8, 3), name="image")
    y = L.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(x)
    y = L.ReLU()(L.BatchNormalization()(y))
    for _ in range(2):
        z = inner = keras.Input((8, 8, 8))
        z = L.Conv2D(16, 1, use_bias=False, name="expand")(z)
        z = L.ReLU(6)(L.BatchNormalization()(z))
        z = L.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(z)
        z = L.ReLU(6)(L.BatchNormalization()(z))
        z = L.BatchNormalization()(L.Conv2D(8, 1, use_bias=False, name="project")(z))
        y = L.Add()([y, keras.Model(inner, z)(y)])
    y = L.GlobalAveragePooling2D()(y)
    return keras.Model(x, L.Dense(5, name="head")(y), name="mobile")


def test_pruned_step_by_step_then_shrunk_exactly():
    model = models.compile(tfc.compress(mobile(), MASKS))
    schedule = tfc.schedules.Polynomial(
        final_sparsity=0.5, begin_step=2, end_step=10, frequency=2
    )
    x, y = models.inputs(model, 48), models.classes(48)
    pruning = tfc.callbacks.ChannelPruning(schedule, round_to=4)
    history = model.fit(
        x, y, batch_size=8, epochs=3, verbose=0, callbacks=[pruning]
    ).history
    assert history["sparsity"] == sorted(history["sparsity"])
    assert history["sparsity"][-1] == 0.5
    small = tfc.shrink(model)
    assert models.difference(model, small, x) <= 1e-5
    sizes = [a.filters for a in small.layers if isinstance(a, L.Conv2D)]
    assert sizes == [4, 8, 4, 8, 4]


def test_new_biases_are_not_masked_before_pruning_starts():
    model = models.compile(tfc.compress(mobile(), MASKS))
    x, y = models.inputs(model, 16), models.classes(16)
    before = model.get_layer("head").inner.bias.numpy()
    model.fit(x, y, verbose=0)
    strip = tfc.strip(model)
    assert np.abs(strip.get_layer("head").bias.numpy() - before).max() > 0


def test_ignored_layers_stay():
    model = tfc.compress(mobile(), MASKS)
    pruning = tfc.callbacks.ChannelPruning(0.5, ignore=["stem"])
    pruning.set_model(model)
    pruning.prune(0.5)
    small = tfc.shrink(model)
    assert small.get_layer("stem").filters == 8
    assert small.count_params() < 0.8 * model.count_params()


def test_groups_without_masks_stay():
    model = tfc.compress(mobile(), {"depthwise": "mask"})
    with pytest.raises(ValueError, match=r"no group.*Add masks"):
        tfc.callbacks.ChannelPruning(0.5).set_model(model)


def test_scores_follow_training():
    model = keras.Sequential([keras.Input((1,)), L.Dense(2, name="a"), L.Dense(1)])
    models.set_weights(model, [[[1.0, 2.0]], [0.0, 0.0], [[1.0], [1.0]], [0.0]])
    model = tfc.compress(model, {"a": "mask"})
    pruning = tfc.callbacks.ChannelPruning(0.5)
    pruning.set_model(model)
    pruning.prune(0.5)
    np.testing.assert_array_equal(tfc.strip(model).layers[0].kernel, [[0.0, 2.0]])
    model.layers[0].inner.kernel.assign([[3.0, 2.0]])
    pruning.prune(0.5)
    np.testing.assert_array_equal(tfc.strip(model).layers[0].kernel, [[3.0, 0.0]])
