import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.callbacks import Annealing
from tfcompress.core.compressed import treatments
from tfcompress.transforms import Codebook, Movement


class Record(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        transform = treatments(self.model)[0][1].transforms[0]
        self.seen.append(float(transform.progress.numpy()))


def fitted(model, annealing, steps=4, **arguments):
    record = Record()
    x, y = models.inputs(model, steps), models.classes(steps)
    arguments = {"callbacks": [annealing, record], "verbose": 0, **arguments}
    log = model.fit(x, y, 1, **arguments)
    return record.seen, log.history["progress"]


def moving(*others):
    # 12 of 48 and 8 of 30 weights stay.
    return models.compile(
        tfc.compress(models.small(), {".*": [Movement(0.75), *others]}),
        run_eagerly=True,
    )


def test_progress_goes_from_the_beginning_of_a_training_to_its_end():
    model = moving()
    seen, logged = fitted(model, Annealing(), epochs=2)
    np.testing.assert_allclose(seen, np.arange(8) / 8)
    assert logged == [0.5, 1.0]
    assert tfc.report(model).sparsity == 1 - 20 / 78
    # The next training of the same model begins anew, a resumed one goes on.
    seen, _ = fitted(model, Annealing())
    np.testing.assert_allclose(seen, np.arange(4) / 4)
    seen, _ = fitted(model, Annealing(), epochs=4, initial_epoch=2)
    np.testing.assert_allclose(seen, 0.5 + np.arange(8) / 16)


def test_steps_that_are_given():
    seen, logged = fitted(moving(), Annealing(begin_step=1, end_step=3))
    np.testing.assert_allclose(seen, [0, 0, 0.5, 1])
    assert logged == [1.0]


def test_several_steps_in_one_execution():
    model = tfc.compress(models.small(), {".*": Movement(0.75)})
    models.compile(model, steps_per_execution=2)
    _, logged = fitted(model, Annealing())
    assert logged == [1.0]


def test_what_follows_sees_the_last_mask():
    model = moving(Codebook(3))
    fitted(model, Annealing())
    for _, treatment in treatments(model):
        movement, codebook = treatment.transforms
        mask = movement.mask.numpy()
        assert (codebook.assignments.numpy()[~mask] == 0).all()
        assert np.unique(treatment.bake()).size == 4


def test_a_training_that_ends_before_is_said():
    model = moving()
    fitted(model, Annealing(end_step=8))
    with pytest.warns(UserWarning, match=r"Movement\(sparsity=0.75\).*half way"):
        plain = tfc.strip(model)
    x = models.inputs(model)
    assert models.difference(model, plain, x) <= 1e-6
    fitted(model, Annealing(begin_step=0, end_step=8))
    assert tfc.report(model).sparsity == 1 - 20 / 78


def test_files_hold_the_progress(tmp_path):
    model = moving()
    fitted(model, Annealing(end_step=8))
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    movement = treatments(restored)[0][1].transforms[0]
    assert movement.progress.numpy() == 0.5
    assert models.difference(model, restored, models.inputs(model)) == 0


def test_custom_training_loop():
    model, annealing = moving(), Annealing(end_step=6)
    annealing.set_model(model)
    for step in range(7):
        annealing.update(step)
    assert tfc.report(model).sparsity == 1 - 20 / 78
    endless = Annealing()
    endless.set_model(model)
    with pytest.raises(ValueError, match="end_step"):
        endless.update(1)


def test_data_of_unknown_length():
    model = moving()
    x, y = models.inputs(model), models.classes()

    def batches():
        yield x, y

    with pytest.raises(ValueError, match="how long the training is"):
        model.fit(batches(), callbacks=[Annealing()], verbose=0)


def test_bad_steps_and_models():
    with pytest.raises(ValueError, match="a step after begin_step=9"):
        Annealing(begin_step=9, end_step=9)
    with pytest.raises(ValueError, match="nothing that changes"):
        Annealing().set_model(tfc.compress(models.small(), {".*": "mask"}))
