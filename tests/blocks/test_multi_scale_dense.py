"""MSDNet's layers: channels, parameters, exits on the coarsest resolution."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress as tfc


def test_parameters_by_hand():
    x = keras.Input((8, 8, 3))
    first = tfc.blocks.multi_scale_first(x, [4, 6])
    grown = tfc.blocks.multi_scale_dense(first, [2, 5], bottleneck=2, name="a")
    model = keras.Model(x, grown)
    firsts = 9 * (3 * 4 + 4 * 6) + 4 * 10
    # Two new ones of 4; three of 6, and two of 4 at the finer resolution.
    fine = 4 * 4 + 4 * 4 + 9 * 4 * 2 + 4 * 2
    own = 6 * 6 + 4 * 6 + 9 * 6 * 3 + 4 * 3
    finer = 4 * 4 + 4 * 4 + 9 * 4 * 2 + 4 * 2
    assert model.count_params() == firsts + fine + own + finer
    assert [y.shape[-1] for y in grown] == [6, 11]


def test_features_before_are_kept():
    x = keras.Input((8, 8, 3))
    first = tfc.blocks.multi_scale_first(x, [4, 6])
    grown = tfc.blocks.multi_scale_dense(first, [2, 4])
    both = keras.Model(x, [*first, *grown]).predict(np.ones((1, 8, 8, 3)), verbose=0)
    np.testing.assert_array_equal(both[2][..., :4], both[0])
    np.testing.assert_array_equal(both[3][..., :6], both[1])


def test_exits_of_the_coarsest_resolution_become_stages(tmp_path):
    x = keras.Input((16, 16, 3))
    features, exits = tfc.blocks.multi_scale_first(x, [4, 6]), []
    for _ in range(3):
        features = tfc.blocks.multi_scale_dense(features, [2, 4])
        pooled = layers.GlobalAveragePooling2D()(features[-1])
        exits.append(layers.Dense(3)(pooled))
    network = tfc.dynamic.EarlyExit(keras.Model(x, exits))
    images = np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype("float32")
    plan = network.calibrate(images, macs=0.9)
    path = tmp_path / "msdnet.tflite"
    tfc.dynamic.export_cascade(network, plan, path)
    answers = tfc.runtime.Cascade(path).answers(images)
    expected = np.stack([*network.predict(images, verbose=0).values()])
    np.testing.assert_allclose(answers, expected, atol=1e-4)


def test_bad_input():
    x = keras.Input((8, 8, 3))
    features = tfc.blocks.multi_scale_first(x, [4, 6])
    with pytest.raises(ValueError, match="expected the same number"):
        tfc.blocks.multi_scale_dense(features, [2])
    with pytest.raises(ValueError, match="at least 2 from the second"):
        tfc.blocks.multi_scale_dense(features, [2, 1])
    with pytest.raises(ValueError, match="expected half the size"):
        tfc.blocks.multi_scale_dense([x, x], [2, 2])
