"""Channels per sample: masks, the agent's choices, how it learns."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.dynamic.skipping import models
from tfcompress.dynamic import ChannelSkip
from tfcompress.dynamic.skipping.channel_skip import (
    BestChoice,
    ChannelMask,
    _around_all,
    _estimation_error,
)

L = keras.layers
X, Y = models.images()


def compiled(channel_skip, optimizer="sgd"):
    channel_skip.compile(optimizer, models.cross_entropy())
    return channel_skip


def choose(channel_skip, group):
    """Makes the agent always take one choice that is not all groups."""
    layer = channel_skip.masked.get_layer("agent_values")
    kernel, bias = layer.get_weights()
    layer.set_weights([np.zeros_like(kernel), np.eye(len(bias))[group]])


def test_groups_are_nested():
    x = np.ones((4, 2, 6), "float32")
    masked = ChannelMask(4)(x, np.array([[0.0], [1.0], [2.0], [3.0]])).numpy()
    # Channels 0 and 1 are group 0, then 2, 3 and 4, and 5: floor(4 c / 6).
    assert masked[:, 0].astype(int).tolist() == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1, 1],
    ]


def test_what_is_masked_is_zero_whatever_it_was():
    x = np.full((1, 2), np.nan, "float32")
    assert np.isnan(ChannelMask(2)(x, np.zeros((1, 1)))).tolist() == [[True, False]]


def test_at_first_all_channels_are_computed():
    model = models.residual()
    channel_skip = ChannelSkip(model, criterion=None)
    np.testing.assert_array_equal(channel_skip.predict(X, verbose=0), model.predict(X))
    assert "stem" not in channel_skip.convolutions
    assert all((groups == 4).all() for groups in channel_skip.decisions(X).values())
    assert (channel_skip.macs_used(X) > 1).all()


def test_the_share_of_macs():
    channel_skip = ChannelSkip(models.residual(), at=["block0_a", "block0_b"])
    full = channel_skip.macs_used(X)[0]
    choose(channel_skip, 0)
    block = 2 * 9 * 16 * 64
    total = 9 * 12 * 64 + 2 * block + 9 * 24 * 16 + 24 * 16 + 18
    expected = full - 0.75 * block / total
    np.testing.assert_allclose(channel_skip.macs_used(X), expected, rtol=1e-5)
    assert channel_skip.decisions(X)["block0_a"].tolist() == [1] * len(X)


def test_random_choices_in_training_only():
    choice, values = BestChoice(0.5), tf.tile([[0.0, 1.0, 0.0, 0.0]], (4000, 1))
    assert (choice(values).numpy() == 1).all()
    drawn = choice(values, training=True).numpy()
    # Half of them are the best choices, and a quarter of the others by chance.
    assert np.mean(drawn == 1) == pytest.approx(0.625, abs=0.03)
    assert set(drawn.ravel()) == {0, 1, 2, 3}


def test_estimates_learn_from_the_return_that_follows():
    values = tf.Variable([[[1.0, 2.0], [0.5, 3.0]]])
    choices, costs = tf.constant([[0.0, 1.0]]), tf.constant([[0.1, 0.2]])
    with tf.GradientTape() as tape:
        error = _estimation_error(values, choices, costs, tf.constant([0.7]))
    # 1 against -0.7 - 0.1 - 0.2, and 3 against -0.7 - 0.2.
    assert float(error) == pytest.approx((2.0**2 + 3.9**2) / 2)
    expected = [[[2.0, 0.0], [0.0, 3.9]]]
    np.testing.assert_allclose(tape.gradient(error, values), expected, rtol=1e-5)


def test_what_decisions_share_changes_no_choice():
    outputs = tf.Variable([[-0.5, -0.2, 3.0]])
    with tf.GradientTape() as tape:
        values = _around_all(outputs)
    np.testing.assert_allclose(values, [[2.5, 2.8, 3.0]], rtol=1e-6)
    assert tape.gradient(values, outputs).numpy().tolist() == [[1.0, 1.0, 3.0]]


def test_important_channels_come_first():
    model = models.residual()
    kernel = model.get_layer("block0_a").kernel
    kernel.assign(kernel * np.array([0.1, 3.0, 1.0, 5.0]))
    sorted_first = ChannelSkip(model).plain()
    kernels = sorted_first.get_layer("block0_a").kernel.numpy()
    norms = np.sum(kernels**2, axis=(0, 1, 2))
    assert (np.diff(norms) < 0).all()
    np.testing.assert_allclose(sorted_first(X), model(X), rtol=1e-5, atol=1e-5)
    as_it_was = ChannelSkip(model, criterion=None).plain()
    np.testing.assert_array_equal(as_it_was.get_layer("block0_a").kernel, kernel)


def test_channels_that_do_nothing_are_left_out():
    model = models.residual()
    model.get_layer("block0_b_norm").set_weights([np.zeros(4)] * 3 + [np.ones(4)])
    channel_skip = ChannelSkip(model, ["block0_a"], cost_weight=20.0, exploration=0.5)
    for layer in channel_skip.masked.layers:
        layer.trainable = "agent" in layer.name
    compiled(channel_skip, keras.optimizers.Adam(0.03))
    channel_skip.fit(X, Y, epochs=60, verbose=0)
    assert (channel_skip.decisions(X)["block0_a"] == 1).all()


def test_the_agent_does_not_change_the_network():
    channel_skip = compiled(ChannelSkip(models.residual(), exploration=0.0))
    run = channel_skip.masked(X, training=True)
    with tf.GradientTape() as tape:
        values = tf.reduce_sum(channel_skip.masked(X, training=True)["values"])
    kernel = channel_skip.masked.get_layer("stem").kernel
    assert run["values"].shape == (len(X), len(channel_skip.convolutions), 4)
    assert tape.gradient(values, kernel.value) is None


def test_files_bring_it_back(tmp_path):
    channel_skip = compiled(ChannelSkip(models.residual(), ["block1_.*"], num_groups=2))
    channel_skip.fit(X, Y, verbose=0)
    channel_skip.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.convolutions == ["block1_a", "block1_b"] and loaded.num_groups == 2
    np.testing.assert_array_equal(loaded(X), channel_skip(X))


def test_the_model_without_masks():
    model = models.residual()
    channel_skip = ChannelSkip(model, criterion=None)
    choose(channel_skip, 0)
    np.testing.assert_array_equal(channel_skip.plain()(X), model(X))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"at": ["blok0_a"]}, "Did you mean 'block0_a'"),
        ({"num_groups": 5}, "has 4 channels, fewer than num_groups=5"),
    ],
)
def test_what_cannot_be_masked_is_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        ChannelSkip(models.residual(), **arguments)
