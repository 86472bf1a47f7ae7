import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.callbacks import Staging
from tfcompress.core.compressed import treatments
from tfcompress.transforms import Codebook, LearnedStep, Mask, Uniform


def shared():
    return models.compile(
        tfc.compress(models.small(), {".*": [Uniform(8), Codebook(3)]})
    )


def is_waiting(model):
    (first, second) = (t.is_waiting for _, t in treatments(model))
    assert first == second
    return first


class Watch(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.seen = [*getattr(self, "seen", []), is_waiting(self.model)]


def test_transforms_begin_at_their_step_and_a_compiled_training_sees_it():
    model, watch = shared(), Watch()
    x, y = models.inputs(model, 48), models.classes(48)
    model.fit(x, y, 8, verbose=0, callbacks=[Staging(4), watch])
    assert watch.seen == [True] * 4 + [False] * 2
    np.testing.assert_allclose(
        model.predict(x, verbose=0), tfc.strip(model)(x), atol=1e-6
    )
    assert all(len(np.unique(t.bake())) <= 3 for _, t in treatments(model))
    # A later training continues from there.
    model.fit(x, y, 8, verbose=0, callbacks=[Staging(4), watch])
    assert watch.seen[6:] == [False] * 6


def test_at_the_end_of_the_training_they_begin_in_any_case():
    model = shared()
    x, y = models.inputs(model, 16), models.classes(16)
    model.fit(x, y, 8, verbose=0, callbacks=[Staging(400)])
    assert not is_waiting(model)


def test_it_overrules_pruning():
    model = models.compile(tfc.compress(models.small(), {".*": [Mask(), Codebook(3)]}))
    watch = Watch()
    x, y = models.inputs(model, 48), models.classes(48)
    schedule = tfc.schedules.Polynomial(final_sparsity=0.5, begin_step=0, end_step=2)
    callbacks = [tfc.callbacks.Pruning(schedule), Staging(5), watch]
    model.fit(x, y, 8, verbose=0, callbacks=callbacks)
    assert watch.seen == [True] * 5 + [False]
    watch.seen = []
    model.fit(x, y, 8, verbose=0, callbacks=[tfc.callbacks.Pruning(schedule), watch])
    assert watch.seen == [False] * 6


def test_custom_training_loop():
    model = shared()
    staging = Staging(3)
    staging.set_model(model)
    seen = []
    for step in range(5):
        staging.update(step)
        seen.append(is_waiting(model))
    assert seen == [True, True, True, False, False]


def test_a_step_that_is_learned_starts_anew():
    kernel = np.random.default_rng(0).normal(size=(9, 1))
    treatment = models.dense_treatment(kernel, Mask(), LearnedStep(2))
    treatment.hold()
    treatment.variable.assign(100 * kernel)
    treatment.begin()
    start = 2 * 100 * np.abs(kernel).mean()
    np.testing.assert_allclose(treatment.transforms[1].step, [[start]], rtol=1e-5)


def test_what_waits_is_told():
    model = shared()
    for _, treatment in treatments(model):
        treatment.hold()
    row = tfc.report(model)["hidden/kernel"]
    assert row.transforms == ("Uniform(bits=8)", "Codebook(num_clusters=3) (waits)")
    with pytest.warns(UserWarning, match="2 weights, such as 'hidden/kernel'.*Staging"):
        plain = tfc.strip(model)
    assert models.difference(model, plain, models.inputs(model)) <= 1e-6


def test_nothing_can_wait():
    model = tfc.compress(models.small(), {".*": [Mask(), Uniform(8)]})
    with pytest.raises(ValueError, match="no transform that can wait"):
        Staging(1).set_model(model)
    with pytest.raises(ValueError, match="begin_step"):
        Staging(-1)
