"""Each method's own rule, with numbers worked out by hand."""

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.callbacks import ACDC, DSR, SET, SNFS, RigL, SRigL
from tfcompress.core.compressed import treatments
from tfcompress.core.keras_internals import optimizer_slots
from tfcompress.core.nouns import Signals
from tfcompress.criteria import MagnitudePerSign
from tfcompress.pruning.sparse_training.srigl import constant_fan_in, regrow_neurons


def bools(*rows):
    return np.array(rows, bool)


@pytest.mark.parametrize(
    ("fraction", "stays"),
    [
        (0.25, [-4, -3, -2, 0, 9, 8, 7, 0]),
        (0.5, [-4, -3, 0, 0, 9, 8, 0, 0]),
        (0.75, [-4, 0, 0, 0, 9, 0, 0, 0]),
    ],
)
def test_set_drops_positives_and_negatives_apart(fraction, stays):
    weights = np.array([-4.0, -3.0, -2.0, -1.0, 9.0, 8.0, 7.0, 6.0])
    scores = MagnitudePerSign()(weights, {})
    count = int(8 * (1 - fraction))
    kept = np.where(tfc.core.nouns.top(scores, count), weights, 0)
    np.testing.assert_array_equal(kept, stays)


def one_layer(kernel, mask, optimizer):
    layer = keras.layers.Dense(len(kernel[0]), use_bias=False, name="d")
    model = keras.Sequential([keras.Input((len(kernel),)), layer])
    layer.kernel.assign(np.multiply(kernel, mask))
    model = tfc.compress(model, {".*": "mask"})
    ((_, treatment),) = treatments(model)
    treatment.transforms[0].mask.assign(mask)
    model.compile(optimizer, "mse")
    return model, treatment


def test_rigl_grows_where_the_loss_is_steep():
    """Five of eight weights are set; two are dropped; two are grown, one of them again."""
    kernel = np.array([[5.0, 4.0], [3.0, 0.2], [0.1, 0.0], [0.0, 0.0]])
    model, treatment = one_layer(kernel, kernel != 0, keras.optimizers.Adam(1e-6))
    sparse = RigL(0.375, fraction=0.8, frequency=1, end_step=2)
    # Only the gradients of [1, 1] (just dropped), [2, 1] and [3, 0] are not zero.
    x = np.eye(4, dtype="float32")
    y = x @ kernel.astype("float32") + [[0, 0], [0, 30], [0, 10], [20, 0]]
    model.fit(x, y, 4, epochs=1, verbose=0, callbacks=[sparse])
    # 0.8 / 2 (1 + cos(π / 2)) of 5 weights.
    expected = bools([1, 1], [1, 1], [0, 0], [1, 0])
    np.testing.assert_array_equal(treatment.transforms[0].mask, expected)
    weight = treatment.variable.numpy()
    np.testing.assert_allclose(weight[1, 1], 0.2, atol=1e-5)
    assert weight[3, 0] == weight[2, 0] == 0
    for slot in optimizer_slots(model.optimizer, treatment.variable):
        # Elements that stay keep their optimizer slots; the new one starts from zero.
        assert slot.numpy()[1, 1] != 0
        assert slot.numpy()[3, 0] == slot.numpy()[2, 0] == 0


def test_dsr_follows_its_threshold_and_grows_where_more_survives():
    masks = [bools([1] * 8 + [0] * 8), bools([1] * 4 + [0] * 12)]
    weights = [np.arange(16.0)[None] + 1, np.arange(16.0)[None] / 4 + 6]
    sparse = DSR(0.5, fraction=0.25, threshold=3.5)
    # 3 of 12 should be dropped, and are: 1, 2, 3.
    gone = sparse._num_dropped(masks, weights, None, 0.25)
    assert gone == [3, 0]
    assert sparse.threshold == 3.5
    # 5 and 4 survive: 5/9 and 4/9 of 3.
    assert sparse._num_grown(masks, gone, None) == [2, 1]
    # 2 would be within 10 % of neither 3 nor 1.
    sparse.threshold = 2.5
    assert sparse._num_dropped(masks, weights, None, 0.25) == [2, 0]
    assert sparse.threshold == 5
    sparse.threshold = 6.3
    assert sparse._num_dropped(masks, weights, None, 0.25) == [6, 2]
    assert sparse.threshold == 3.15


def test_dsr_hands_on_what_finds_no_place_and_leaves_one_of_each():
    masks = [bools([1] * 6), bools([1] * 3 + [0] * 9)]
    weights = [np.ones((1, 6)), np.full((1, 12), 5.0)]
    sparse = DSR(0.5, fraction=0.5, threshold=2.0)
    gone = sparse._num_dropped(masks, weights, None, 0.5)
    assert gone == [5, 0]
    assert sparse._num_grown(masks, gone, None) == [0, 5]
    sparse.threshold = 9.0
    assert sparse._num_dropped(masks, weights, None, 0.5) == [5, 2]


def test_dsr_chooses_a_threshold_by_which_as_many_go_as_should():
    sparse = DSR(0.5, fraction=0.25)
    scores = [np.array([[4.0, 3.0, 2.0, 1.0, 9.0]])]
    assert sparse._num_dropped([bools([1, 1, 1, 1, 0])], scores, None, 0.25) == [1]


def test_snfs_moves_weights_to_where_the_momentum_is():
    masks = [bools([1, 1, 1, 1, 0, 0, 0, 0]), bools([1, 1, 1, 1, 0, 0, 0, 0])]
    momenta = [np.array([[3.0, -3, 3, -3, 90, 0, 0, 0]]), np.full((1, 8), -1.0)]
    signals = [Signals({"momentum": m}) for m in momenta]
    sparse = SNFS(0.5)
    gone = sparse._num_dropped(masks, None, signals, 0.5)
    assert gone == [2, 2]
    # In proportion 3 to 1, the momentum of masked weights aside.
    assert sparse._num_grown(masks, gone, signals) == [3, 1]
    signals[0]["momentum"] = momenta[0] * 1000
    # At most 99 % of 6 places.
    assert sparse._num_grown(masks, [4, 4], signals) == [7, 1]
    signals[1]["momentum"] = momenta[1] * 0
    assert sparse._num_grown(masks, [4, 4], signals) == [7, 1]


def test_snfs_takes_little_from_a_nearly_dense_weight_that_grows():
    nearly = bools([1] * 9 + [0])
    sparse = SNFS(0.5)
    signals = [Signals({"momentum": np.full((1, 10), m)}) for m in (2.0, 1.0)]
    assert sparse._num_dropped([nearly, nearly], None, signals, 0.5) == [1, 5]


def test_srigl_keeps_fan_in_constant_without_letting_neurons_die():
    mask = bools([1, 0], [1, 1], [0, 1], [0, 0])
    drop = np.array([[9.0, 0], [8, 1], [0, 2], [0, 0]])
    grow = np.array([[0.0, 0], [0, 3], [5, 0], [0, 6]])
    found = regrow_neurons(mask, drop, grow, 4, False, 0.5, 0.3)
    # The neuron on the right loses both, and gets the two with the largest gradients.
    np.testing.assert_array_equal(found, bools([1, 0], [1, 1], [0, 0], [0, 1]))


def test_srigl_lets_no_more_neurons_die_than_weights_find_a_place_without():
    mask = bools([1, 1, 0], [1, 1, 0])
    drop = np.array([[9.0, 1, 0], [9, 1, 0]])
    grow = np.array([[5.0, 0, 0], [4, 0, 0]])
    # Only the one on the left has salient weights, but no room for four.
    found = regrow_neurons(mask, drop, grow, 4, True, 0.5, 0.3)
    np.testing.assert_array_equal(found, bools([1, 1, 0], [1, 1, 0]))


def test_srigl_starts_with_fewer_neurons_where_there_are_too_few_weights():
    scores = np.array([[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]])
    found = constant_fan_in(scores, bools([1, 0, 1])[0], 2)
    np.testing.assert_array_equal(found, bools([0, 0, 1], [1, 0, 0]))


def test_what_srigl_leaves_shrinks():
    model = tfc.compress(models.small(), {".*": "mask"})
    models.compile(model)
    ((_, hidden), (_, head)) = treatments(model)
    # Two neurons whose weights and gradients are so small that nothing is salient.
    small = np.ones(6)
    small[:2] = 1e-6
    hidden.variable.assign(hidden.variable.numpy() * small)
    head.variable.assign(head.variable.numpy() * small[:, None])
    sparse = SRigL(0.5, fraction=0.5, min_salient=0.5, frequency=1, end_step=3)
    x, y = models.inputs(model, 8), models.classes(8)
    model.optimizer.learning_rate = 1e-7
    model.fit(x, y, 8, epochs=2, verbose=0, callbacks=[sparse])
    counts = hidden.transforms[0].mask.numpy().sum(axis=0)
    assert counts[:2].tolist() == [0, 0]
    assert len(set(counts[2:].tolist())) == 1
    assert head.transforms[0].mask.numpy().sum(axis=0).all()
    small = tfc.shrink(model)
    assert small.layers[1].units == 4
    assert models.difference(small, model, x) <= 1e-6
    # Resumed training does not draw masks again.
    model.fit(x, y, 8, epochs=1, verbose=0, callbacks=[SRigL(0.5, end_step=1)])
    np.testing.assert_array_equal(hidden.transforms[0].mask.numpy().sum(axis=0), counts)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (6, "DSSSSS"),
        (10, "DSSDDSSSSS"),
        (11, "DSSDDSSSSSS"),
    ],
)
def test_phases_of_ac_dc(epochs, expected):
    phases = ACDC(0.5, warm_up_epochs=1, phase_epochs=2, final_epochs=5)
    found = "".join("SD"[phases.is_dense(e, epochs)] for e in range(epochs))
    assert found == expected


def test_ac_dc():
    model = models.compile(tfc.compress(models.small(), {".*": "mask"}))
    x, y = models.inputs(model, 16), models.classes(16)
    phases = ACDC(0.7, warm_up_epochs=1, phase_epochs=1, final_epochs=1)
    (_, hidden), _ = treatments(model)
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            slots = optimizer_slots(self.model.optimizer, hidden.variable)
            seen.append((hidden.bake(), [slot.numpy() for slot in slots]))

    log = model.fit(x, y, 8, epochs=4, verbose=0, callbacks=[phases, Look()])
    total = 8 * 6 + 6 * 5
    kept = total - round(0.7 * total)
    assert log.history["sparsity"] == [0, 1 - kept / total, 0, 1 - kept / total]
    assert phases.num_kept == kept
    # The second dense phase starts from the zeros of the sparse one, without momenta.
    weight, slots = seen[2]
    assert 0.5 < np.mean(weight == 0) < 1
    assert len(slots) == 2
    assert not np.any(slots)
    # The largest weights of the dense model stay.
    dense = phases.dense_model.get_layer("hidden").kernel.numpy()
    stays = seen[3][0] != 0
    assert np.abs(dense[stays]).min() > np.abs(dense[~stays]).max()
    assert np.mean(dense != 0) > 0.8


def test_ac_dc_that_is_resumed_goes_on_in_its_phase():
    model = models.compile(tfc.compress(models.small(), {".*": "mask"}))
    x, y = models.inputs(model, 8), models.classes(8)
    arguments = {"warm_up_epochs": 1, "phase_epochs": 2, "final_epochs": 2}

    def fit(**epochs):
        model.fit(x, y, verbose=0, callbacks=[ACDC(0.75, **arguments)], **epochs)
        return [t.transforms[0].mask.numpy() for _, t in treatments(model)]

    before = fit(initial_epoch=0, epochs=3)
    model.layers[-1].inner.kernel.assign(np.ones((6, 5)))
    for a, b in zip(before, fit(initial_epoch=3, epochs=4), strict=True):
        np.testing.assert_array_equal(a, b)


def test_ac_dc_in_too_short_a_training():
    model = models.compile(tfc.compress(models.small(), {".*": "mask"}))
    x, y = models.inputs(model, 8), models.classes(8)
    with pytest.raises(ValueError, match="got 3 epochs, expected at least 20"):
        model.fit(x, y, epochs=3, verbose=0, callbacks=[ACDC(0.5)])


def test_set_ranks_new_weights_that_are_still_zero_lowest():
    scores = MagnitudePerSign()(np.array([0.0, 1e-9, -1e-9]), {})
    assert scores.tolist() == [0, 1, 1]
    assert SET(0.5).drop == MagnitudePerSign()
