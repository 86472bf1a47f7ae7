"""Gates: what they compute, how they learn, and how they run in files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.dynamic.skipping import models
from tfcompress.dynamic import SkipNet
from tfcompress.dynamic.skipping.gates import GatedAdd, HardGate
from tfcompress.dynamic.skipping.skip_net import _policy_loss

X, Y = models.images()


def compiled(skip_net, rate=1e-3, **kwargs):
    optimizer = keras.optimizers.SGD(rate)
    skip_net.compile(optimizer, models.cross_entropy(), **kwargs)
    return skip_net


def set_gates(skip_net, *logits):
    """Gates that decide the same for each sample."""
    for name, logit in zip(skip_net.blocks, logits, strict=True):
        layer = skip_net.gated.get_layer(f"{name}_gate_logit")
        layer.set_weights([np.zeros_like(layer.kernel), np.array([logit])])


@pytest.mark.parametrize("gate", ["pooled", "recurrent"])
def test_gates_begin_open_and_the_model_computes_what_it_did(gate):
    model = models.residual()
    skip_net = SkipNet(model, gate=gate)
    assert skip_net.blocks == ["block0", "block1"]
    np.testing.assert_array_equal(skip_net.predict(X, verbose=0), model.predict(X))
    assert all(ran.all() for ran in skip_net.decisions(X).values())
    logits = skip_net.gated.predict(X, verbose=0)["logits"]
    assert 0.8 < 1 / (1 + np.exp(-logits.mean())) < 0.97


def test_a_closed_gate_leaves_the_input_bit_for_bit():
    x = np.array([[-0.0, 1e-30, 3.0]], "float32")
    branch = np.full((1, 3), np.nan, "float32")
    closed, opened = np.zeros((1, 1)), np.ones((1, 1))
    y = GatedAdd()(x, branch, closed).numpy()
    assert y.tobytes() == x.tobytes()
    assert np.isnan(GatedAdd()(x, branch, opened)).all()


def test_closed_gates_leave_the_rest_of_the_network():
    model = models.residual()
    skip_net = SkipNet(model)
    set_gates(skip_net, -1.0, 1.0)
    x = model.get_layer("stem")(X)
    rest = keras.Model(model.get_layer("block1").input[1], model.output)
    expected = rest(keras.ops.relu(x))
    np.testing.assert_array_equal(skip_net(X), expected)
    assert {k: v.any() for k, v in skip_net.decisions(X).items()} == {
        "block0": False,
        "block1": True,
    }


@pytest.mark.usefixtures("uncompiled")
def test_the_share_of_macs_counts_gates():
    model = models.residual()
    skip_net = SkipNet(model)
    # Stem, blocks, widening, shortcut, head; gates of 4 · 10 + 10 each.
    block = 2 * 9 * 16 * 64
    total = 9 * 12 * 64 + 2 * block + 9 * 24 * 16 + 24 * 16 + 18
    np.testing.assert_allclose(skip_net.macs_used(X), 1 + 100 / total, rtol=1e-6)
    set_gates(skip_net, -1.0, 1.0)
    expected = 1 + (100 - block) / total
    np.testing.assert_allclose(skip_net.macs_used(X), expected, rtol=1e-6)
    logs = compiled(skip_net).evaluate(X, Y, verbose=0, return_dict=True)
    assert logs["macs"] == pytest.approx(expected)


def test_the_gradient_of_a_hard_gate_is_that_of_the_sigmoid():
    logits = tf.constant([[-1.0], [0.0], [2.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        gates = HardGate()(logits, training=True)
    assert gates.numpy().tolist() == [[0], [0], [1]]
    sigmoid = 1 / (1 + np.exp(-logits.numpy()))
    np.testing.assert_allclose(
        tape.gradient(gates, logits), sigmoid * (1 - sigmoid), rtol=1e-5
    )


def test_drawn_gates_open_as_often_as_they_should():
    gates = HardGate(samples=True)(tf.fill((4000, 1), np.log(3.0)), training=True)
    assert np.mean(gates) == pytest.approx(0.75, abs=0.03)
    assert set(np.unique(gates)) == {0, 1}


@pytest.mark.usefixtures("uncompiled")
def test_the_penalty_is_the_excess_over_the_target():
    skip_net = SkipNet(models.residual(), target_macs=0.75, cost_weight=3.0)
    share = skip_net.macs_used(X)[0]
    loss = compiled(skip_net).evaluate(X, Y, verbose=0, return_dict=True)["loss"]
    task = models.cross_entropy()(Y, skip_net(X))
    assert loss == pytest.approx(float(task) + 3.0 * (share - 0.75), rel=1e-5)
    set_gates(skip_net, -1.0, -1.0)
    loss = skip_net.evaluate(X, Y, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(float(models.cross_entropy()(Y, skip_net(X))))


def test_the_policys_gradient_by_hand():
    gates = tf.constant([[1.0, 0.0], [0.0, 1.0]])
    logits = tf.Variable([[0.5, -1.0], [0.2, 0.3]])
    task, costs = tf.constant([1.0, 2.0]), tf.constant([0.3, 0.4])
    with tf.GradientTape() as tape:
        loss = _policy_loss({"gates": gates, "logits": logits}, task, costs)
    # Rewards: minus the loss, minus the costs from the gate on, and their means.
    rewards = -np.array([[1.3, 1.0], [2.4, 2.4]])
    advantages = rewards - rewards.mean(0)
    # d log P / d logit = g - P(g = 1).
    scores = gates.numpy() - 1 / (1 + np.exp(-logits.numpy()))
    np.testing.assert_allclose(
        tape.gradient(loss, logits), -advantages * scores / 2, rtol=1e-5
    )


@pytest.mark.parametrize("gradient", ["straight_through", "reinforce"])
def test_blocks_that_do_nothing_are_closed(gradient):
    model = models.residual()
    model.get_layer("block0_b_norm").set_weights([np.zeros(4)] * 3 + [np.ones(4)])
    model.get_layer("block0_b_norm").trainable = False
    skip_net = SkipNet(model, ["block0"], cost_weight=1.0, gradient=gradient)
    compiled(skip_net, 1.0).optimizer.learning_rate = 3.0
    for layer in skip_net.gated.layers:
        layer.trainable = "gate" in layer.name
    compiled(skip_net, 3.0)
    before = skip_net.macs_used(X).mean()
    skip_net.fit(X, Y, epochs=30, verbose=0)
    assert skip_net.macs_used(X).mean() < before - 0.2
    assert not skip_net.decisions(X)["block0"].any()


def test_reinforce_needs_one_loss():
    skip_net = SkipNet(models.residual(), gradient="reinforce")
    skip_net.compile("sgd", {"head": models.cross_entropy()})
    with pytest.raises(ValueError, match="rewards decisions by one loss"):
        skip_net.fit(X, Y, verbose=0)


@pytest.mark.usefixtures("uncompiled")
def test_several_outputs_go_by_their_names():
    model = models.residual()
    model = keras.Model(model.input, [*model.outputs, model.get_layer("block1").output])
    skip_net = SkipNet(model)
    skip_net.compile("sgd", {"head": models.cross_entropy(), "block1": "mse"})
    labels = {"head": Y, "block1": np.zeros((len(X), 8, 8, 4))}
    logs = skip_net.evaluate(X, labels, verbose=0, return_dict=True)
    assert logs["macs"] > 1


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("gate", ["pooled", "recurrent"])
def test_files_bring_it_back(gate, tmp_path):
    skip_net = compiled(SkipNet(models.residual(), ["block1"], gate, target_macs=0.5))
    skip_net.fit(X, Y, verbose=0)
    skip_net.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.blocks == ["block1"] and loaded.target_macs == 0.5
    np.testing.assert_array_equal(loaded(X), skip_net(X))


def test_the_model_without_gates():
    model = models.residual()
    skip_net = SkipNet(model)
    set_gates(skip_net, -1.0, -1.0)
    plain = skip_net.plain()
    np.testing.assert_array_equal(plain(X), model(X))
    assert plain.count_params() == model.count_params()


@pytest.mark.usefixtures("uncompiled")
def test_the_model_that_was_given_stays():
    model = models.residual()
    before = [w.numpy() for w in model.weights]
    compiled(SkipNet(model)).fit(X, Y, verbose=0)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_it_trains_on_two_devices():
    # Collectives of two trainings in one process interfere with each other.
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        skip_net = SkipNet(models.residual(), gradient="reinforce", target_macs=0.5)
        compiled(skip_net)
    logs = skip_net.fit(X, Y, batch_size=8, verbose=0).history
    assert np.isfinite(logs["loss"]).all() and 0.1 < logs["macs"][0] < 1.05


def test_half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    skip_net = compiled(SkipNet(models.residual(), gradient="reinforce"))
    logs = skip_net.fit(X, Y, verbose=0).history
    assert np.isfinite(logs["loss"]).all()
    assert skip_net.deployed()(X[:1]).dtype == "float16"
