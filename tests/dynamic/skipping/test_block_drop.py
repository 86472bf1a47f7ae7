"""One policy for all blocks."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests.dynamic.skipping import models
from tfcompress.dynamic import BlockDrop
from tfcompress.dynamic.skipping.block_drop import _policy_loss
from tfcompress.dynamic.skipping.policy import Choice, bounded

L = keras.layers
X, Y = models.images()


def compiled(block_drop, optimizer=None):
    block_drop.compile(optimizer or "sgd", models.cross_entropy(), metrics=["accuracy"])
    return block_drop


def policy(num_blocks, logits=None):
    """A policy on images that always answers the same, or what two pixels say."""
    x = keras.Input((8, 8, 3))
    head = L.Dense(num_blocks)
    model = keras.Model(x, head(L.Flatten()(x)[:, :2]))
    if logits is not None:
        head.set_weights([np.zeros((2, num_blocks)), np.array(logits)])
    return model


def test_at_first_all_blocks_run_and_the_policy_is_small():
    model = models.residual(6)
    block_drop = BlockDrop(model)
    np.testing.assert_array_equal(block_drop.predict(X, verbose=0), model.predict(X))
    assert ((block_drop.macs_used(X) > 1) & (block_drop.macs_used(X) < 1.05)).all()


def test_the_likeliest_choice_runs():
    block_drop = BlockDrop(models.residual(3), policy(3, [-1.0, 2.0, -0.1]))
    ran = {name: gates.all() for name, gates in block_drop.decisions(X).items()}
    assert ran == {"block0": False, "block1": True, "block2": False}


def test_probabilities_are_bounded():
    np.testing.assert_allclose(bounded(np.array([-50.0, 0, 50])), [0.2, 0.5, 0.8])
    choice = Choice()
    drawn = choice(tf.fill((4000, 2), 50.0), training=True)
    np.testing.assert_allclose(np.mean(drawn, axis=0), [0.8, 0.8], atol=0.03)


def test_the_curriculum_frees_the_last_block_first():
    choice = Choice()
    closed = np.full((1, 4), -1.0, "float32")
    assert choice(closed).numpy().tolist() == [[0, 0, 0, 0]]
    expected = {0: [1, 1, 1, 0], 24: [1, 1, 1, 0], 25: [1, 1, 0, 0], 75: [0, 0, 0, 0]}
    for step, gates in expected.items():
        choice.advance(step, 100)
        assert choice(closed).numpy().tolist() == [gates]
    choice.advance(1000, 100)
    assert float(choice.num_free.numpy()) == 4


def test_fit_advances_the_curriculum():
    block_drop = compiled(BlockDrop(models.residual(3), policy(3), curriculum_steps=3))
    free = block_drop.gated.get_layer("choice").num_free
    assert float(free.numpy()) == 1
    block_drop.fit(X, Y, batch_size=8, verbose=0)
    assert float(free.numpy()) == 3


def test_the_reward():
    block_drop = BlockDrop(models.residual(2), policy(2), penalty=3.0)
    gates = tf.constant([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    outputs = tf.constant([[2.0, 1, 0], [2.0, 1, 0], [2.0, 1, 0]])
    expected = [0.0, -3.0, 1.0]
    for labels in ([0, 1, 0], [[0], [1], [0]], np.eye(3)[[0, 1, 0]]):
        reward = block_drop._reward(tf.constant(labels), outputs, gates)
        np.testing.assert_allclose(reward, expected)


def test_the_policys_gradient_by_hand():
    gates = tf.constant([[1.0, 0.0], [1.0, 1.0]])
    logits = tf.Variable([[0.5, -1.0], [0.2, 0.3]])
    advantages, free = tf.constant([0.5, -2.0]), tf.constant([False, True])
    with tf.GradientTape() as tape:
        run = {"gates": gates, "logits": logits}
        loss = _policy_loss(run, advantages, free, entropy_weight=0.0)
    gradient = tape.gradient(loss, logits).numpy()
    p = 1 / (1 + np.exp(-logits.numpy()[:, 1]))
    q = 0.2 + 0.6 * p
    slope = 0.6 * p * (1 - p)
    # d log P: -slope / (1 - q) where the block was skipped, slope / q where it ran.
    expected = -np.array([0.5 * -slope[0] / (1 - q[0]), -2 * slope[1] / q[1]]) / 2
    np.testing.assert_allclose(gradient[:, 1], expected, rtol=1e-5)
    assert not gradient[:, 0].any()


def test_the_network_stays_as_it_is_until_both_learn():
    block_drop = compiled(BlockDrop(models.residual(2)))
    kernel = block_drop.gated.get_layer("stem").kernel
    mean = block_drop.gated.get_layer("block0_a_norm").moving_mean
    before, policy_before = kernel.numpy(), block_drop.trainable_variables[0].numpy()
    block_drop.fit(X, Y, epochs=2, verbose=0)
    np.testing.assert_array_equal(kernel, before)
    assert not mean.numpy().any()
    assert (block_drop.trainable_variables[0].numpy() != policy_before).any()
    block_drop.joint = True
    compiled(block_drop).fit(X, Y, verbose=0)
    assert (kernel.numpy() != before).any() and mean.numpy().any()


def test_a_block_that_does_nothing_is_dropped_and_one_that_matters_stays():
    x = inputs = keras.Input((2,))
    for name, kernel in {"turns": -2 * np.eye(2), "nothing": np.zeros((2, 2))}.items():
        layer = L.Dense(2, use_bias=False)
        x = L.Add(name=name)([x, layer(x)])
        layer.set_weights([kernel])
    head = L.Dense(2)
    says = keras.Model(inputs, head(inputs))
    head.set_weights([np.zeros((2, 2)), np.array([1.0, 1.0])])
    vectors = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    block_drop = BlockDrop(keras.Model(inputs, x), says, entropy_weight=0.0)
    compiled(block_drop, keras.optimizers.Adam(0.1)).fit(
        vectors, (-vectors).argmax(-1), epochs=40, verbose=0
    )
    ran = {name: gates.mean() for name, gates in block_drop.decisions(vectors).items()}
    assert ran == {"turns": 1, "nothing": 0}


def test_files_bring_it_back(tmp_path):
    block_drop = BlockDrop(models.residual(2), at=["block1"], curriculum_steps=9)
    compiled(block_drop).fit(X, Y, verbose=0)
    block_drop.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.blocks == ["block1"] and loaded.curriculum_steps == 9
    np.testing.assert_array_equal(loaded(X), block_drop(X))
    # Checks also that the network may learn later.
    count = len(loaded.trainable_variables)
    loaded.joint = True
    assert len(loaded.trainable_variables) > count


def test_a_file_holds_the_policy(tmp_path):
    block_drop = BlockDrop(models.residual(2), policy(2, [-1.0, 1.0]))
    path = tmp_path / "model.tflite"
    deployed = block_drop.deployed()
    result = tfc.export_tflite(deployed, path, samples=X)
    assert result.operations["IF"] == 2
    assert max(result.noise.values()) < 0.1


def test_a_policy_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"expected \(None, 2\): one logit for each"):
        BlockDrop(models.residual(2), policy(3))
    with pytest.raises(ValueError, match="cannot be called with the inputs"):
        x = keras.Input((5,))
        BlockDrop(models.residual(2), keras.Model(x, L.Dense(2)(x)))


def test_several_outputs_are_refused():
    model = models.residual(2)
    model = keras.Model(model.input, [*model.outputs, model.get_layer("stem").output])
    with pytest.raises(ValueError, match="has the outputs head, stem; expected one"):
        BlockDrop(model)


def test_a_network_too_small_for_a_policy_is_told():
    x = keras.Input((4,))
    model = keras.Model(x, L.Add()([x, L.Dense(4)(x)]))
    with pytest.raises(ValueError, match="no default policy fits into 5%.* 16 MACs"):
        BlockDrop(model)
