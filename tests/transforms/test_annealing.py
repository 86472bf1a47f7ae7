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


X, Y = np.ones((4, 4), "float32"), np.zeros((4, 2), "float32")


def moving(*others, **arguments):
    """A dense layer of 8 weights, of which 2 stay."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model = tfc.compress(model, {".*": [Movement(0.75), *others]})
    model.compile("sgd", "mse", **arguments)
    return model


def fitted(model, annealing, **arguments):
    record = Record()
    arguments = {"callbacks": [annealing, record], "verbose": 0, **arguments}
    log = model.fit(X, Y, 1, **arguments)
    return record.seen, log.history["progress"]


def test_progress_goes_from_the_beginning_of_a_training_to_its_end():
    model = moving()
    seen, logged = fitted(model, Annealing(), epochs=2)
    np.testing.assert_allclose(seen, np.arange(8) / 8)
    assert logged == [0.5, 1.0]
    assert tfc.report(model).sparsity == 0.75
    # The next training of the same model starts again, a resumed one continues.
    seen, _ = fitted(model, Annealing())
    np.testing.assert_allclose(seen, np.arange(4) / 4)
    seen, _ = fitted(model, Annealing(), epochs=4, initial_epoch=2)
    np.testing.assert_allclose(seen, 0.5 + np.arange(8) / 16)


def test_steps_that_are_given():
    seen, logged = fitted(moving(), Annealing(begin_step=1, end_step=3))
    np.testing.assert_allclose(seen, [0, 0, 0.5, 1])
    assert logged == [1.0]


def test_frequency():
    annealing = Annealing(frequency=3)
    seen, logged = fitted(moving(), annealing, epochs=2)
    np.testing.assert_allclose(seen, np.array([0, 0, 0, 3, 3, 3, 6, 6]) / 8)
    assert logged == [3 / 8, 1.0]


def test_several_steps_in_one_execution():
    _, logged = fitted(moving(steps_per_execution=2), Annealing())
    assert logged == [1.0]


def test_what_follows_sees_the_last_mask():
    model = moving(Codebook(3))
    fitted(model, Annealing())
    ((_, treatment),) = treatments(model)
    movement, codebook = treatment.transforms
    mask = movement.mask.numpy()
    np.testing.assert_array_equal(codebook.assignments.numpy() != 0, mask)
    np.testing.assert_array_equal(treatment.bake() != 0, mask)


def test_a_training_that_ends_before_is_said():
    model = moving()
    fitted(model, Annealing(end_step=8))
    with pytest.warns(UserWarning, match=r"Movement\(sparsity=0.75\).*unfinished"):
        plain = tfc.strip(model)
    assert models.difference(model, plain, X) <= 1e-6
    fitted(model, Annealing(begin_step=0, end_step=8))
    assert tfc.report(model).sparsity == 0.75


def test_files_hold_the_progress(tmp_path):
    model = moving()
    fitted(model, Annealing(end_step=8))
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    movement = treatments(restored)[0][1].transforms[0]
    assert movement.progress.numpy() == 0.5
    assert models.difference(model, restored, X) == 0


def test_custom_training_loop():
    model, annealing = moving(), Annealing(end_step=6)
    annealing.set_model(model)
    for step in range(7):
        annealing.update(step)
    assert tfc.report(model).sparsity == 0.75
    endless = Annealing()
    endless.set_model(model)
    with pytest.raises(ValueError, match="end_step"):
        endless.update(1)


def test_data_of_unknown_length():
    model = moving()

    def batches():
        yield X, Y

    with pytest.raises(ValueError, match="how long the training is"):
        model.fit(batches(), callbacks=[Annealing()], verbose=0)


def test_bad_steps_and_models():
    with pytest.raises(ValueError, match="a step after begin_step=9"):
        Annealing(begin_step=9, end_step=9)
    with pytest.raises(ValueError, match="no transforms to anneal"):
        Annealing().set_model(tfc.compress(models.small(), {".*": "mask"}))
