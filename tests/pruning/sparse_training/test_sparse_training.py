"""Properties of all methods that exchange weights."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.callbacks import DSR, SET, SNFS, RigL, SRigL
from tfcompress.core.compressed import treatments
from tfcompress.core.keras_internals import optimizer_slots

METHODS = [SET, DSR, SNFS, RigL, SRigL]
STEPS = 6


def compressed(**options):
    return models.compile(tfc.compress(models.small(), {".*": "mask"}), **options)


def fit(model, callbacks, epochs=2):
    x, y = models.inputs(model, 8 * STEPS), models.classes(8 * STEPS)
    return model.fit(
        x, y, 8, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks
    )


def masks(model):
    return [t.transforms[0].mask.numpy() for _, t in treatments(model)]


class Watch(keras.callbacks.Callback):
    """Checks the contract after every batch, and counts the updates."""

    def __init__(self, sparse):
        super().__init__()
        self.sparse = sparse
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        found = masks(self.model)
        assert sum(mask.sum() for mask in found) == self.sparse.num_kept
        self.seen.append(found)

    on_epoch_end = on_train_batch_end

    @property
    def changes(self):
        pairs = zip(self.seen, self.seen[1:], strict=False)
        return sum(
            any((a != b).any() for a, b in zip(*pair, strict=True)) for pair in pairs
        )


@pytest.mark.parametrize(
    ("method", "options"),
    [(method, {}) for method in METHODS] + [(SNFS, {"steps_per_execution": 3})],
)
def test_exactly_as_many_weights_at_every_step(method, options):
    model = compressed(**options)
    sparse = method(0.7, fraction=0.4, frequency=2, end_step=9)
    watch = Watch(sparse)
    history = fit(model, [sparse, watch])
    total = 8 * 6 + 6 * 5
    if method is SRigL:
        assert 0.3 * total - 11 < sparse.num_kept <= 0.3 * total
    else:
        assert sparse.num_kept == total - round(0.7 * total)
    expected = 1 - sparse.num_kept / total
    assert history.history["sparsity"] == pytest.approx([expected] * 2)
    # Nothing is checked within an execution; the first is over before the first check.
    assert (1 if options else 2) <= watch.changes <= 4
    for (_, treatment), mask in zip(treatments(model), masks(model), strict=True):
        assert not treatment.variable.numpy()[~mask].any()
        for slot in optimizer_slots(model.optimizer, treatment.variable):
            assert not slot.numpy()[~mask].any()


def test_two_replicas():
    with tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice()
    ).scope():
        model = compressed()
    sparse = SNFS(0.7, frequency=2, end_step=9)
    watch = Watch(sparse)
    fit(model, [sparse, watch])
    assert watch.changes
    x = models.inputs(model)
    assert models.difference(model, tfc.strip(model), x) <= 1e-6


def test_rigl_is_set_with_one_other_argument():
    assert issubclass(RigL, SET)
    assert SET(0.7, grow="gradient").grow == RigL(0.7).grow


def test_the_same_seed_draws_the_same_masks_and_another_one_others():
    def drawn(seed):
        model = tfc.compress(models.small(), {".*": "mask"})
        for layer in model.layers:
            layer.inner.kernel.assign(np.ones(layer.inner.kernel.shape))
        sparse = SET(0.7, seed=seed, frequency=1, end_step=3)
        sparse.set_model(model)
        for step in range(3):
            sparse.update(step)
            yield masks(model)

    for a, b, c in zip(drawn(3), drawn(3), drawn(4), strict=True):
        for first, again, other in zip(a, b, c, strict=True):
            np.testing.assert_array_equal(first, again)
            assert (first != other).any()


def test_after_each_epoch_but_the_last():
    model = compressed()
    sparse = SET(0.7)
    watch = Watch(sparse)
    fit(model, [sparse, watch], epochs=3)
    assert watch.changes == 2
    # Training continues with the existing masks.
    before = masks(model)
    fit(model, [SET(0.7, seed=5)], epochs=1)
    for a, b in zip(before, masks(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_kernels_only():
    model = models.compile(
        tfc.compress(models.small(), {".*": "mask", ".*/bias": "mask"})
    )
    fit(model, [SET(0.7)])
    for (path, _), mask in zip(treatments(model), masks(model), strict=True):
        assert mask.all() == path.endswith("bias")


def test_custom_training_loop():
    model = compressed()
    sparse = RigL(0.7, fraction=0.6, frequency=2, end_step=12)
    sparse.set_model(model)
    x, y = models.inputs(model, 8), models.classes(8)
    seen = []
    for step in range(5):
        sparse.update(step)
        seen.append(np.concatenate([m.ravel() for m in masks(model)]))
        model.train_on_batch(x, y)
    changes = [(a != b).any() for a, b in itertools.pairwise(seen)]
    assert changes == [False, True, False, True]
    assert len({mask.sum() for mask in seen}) == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_model_without_masks(method):
    with pytest.raises(ValueError, match=f"{method.__name__} found no Mask"):
        method(0.5).set_model(models.small())


def test_a_mask_that_is_not_first():
    model = tfc.compress(models.small(), {".*": ["uniform", "mask"]})
    with pytest.raises(ValueError, match=r"hidden/kernel.*Put the mask first"):
        SET(0.5).set_model(model)


def test_a_training_of_unknown_length():
    model = compressed()
    x, y = models.inputs(model, 8), models.classes(8)
    data = tf.data.Dataset.from_generator(
        lambda: iter([(x, y)]),
        output_signature=(
            tf.TensorSpec((None, 8), "float32"),
            tf.TensorSpec((None,), "int64"),
        ),
    )
    with pytest.raises(ValueError, match="Pass end_step="):
        model.fit(data, shuffle=False, verbose=0, callbacks=[RigL(0.5)])
    with pytest.raises(ValueError, match="pass frequency= and end_step="):
        SET(0.5).update(1)
