import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.callbacks import BitAnnealing
from tfcompress.core.compressed import treatments
from tfcompress.schedules import Piecewise
from tfcompress.transforms import Codebook, LearnedStep, Mask, Uniform

STAGES = Piecewise(boundaries=[4, 8], values=[8, 4, 2])


class Record(keras.callbacks.Callback):
    """Distinct values of the first kernel, and the learning rate, after each step."""

    def on_train_begin(self, logs=None):
        self.distinct, self.rates = [], []
        self.treatment = treatments(self.model)[0][1]

    def on_train_batch_end(self, batch, logs=None):
        self.distinct.append(len(np.unique(self.treatment.bake())))
        self.rates.append(float(self.model.optimizer.learning_rate))


def fitted(*transforms, callbacks=(), **arguments):
    model = tfc.compress(models.small(), {".*": list(transforms)})
    x = models.inputs(model, 12)
    models.compile(model, **arguments)
    callbacks = [BitAnnealing(STAGES), *callbacks]
    model.fit(x, models.classes(12), 1, verbose=0, callbacks=callbacks)
    return model, x


@pytest.mark.parametrize(
    "grid", [Uniform(8, per_channel=False), LearnedStep(8)], ids=repr
)
def test_a_compiled_step_sees_the_bits(grid, tmp_path):
    record = Record()
    model, x = fitted(grid, callbacks=[record])
    first, second, third = np.reshape(record.distinct, (3, 4))
    assert first.min() > 15
    assert 3 < second.min() <= second.max() <= 15
    assert third.max() <= 3

    for _, treatment in treatments(model):
        (transform,) = treatment.transforms
        assert transform.bits == 2
        assert transform.max_level == 1
    # The compiled step computes what is baked.
    np.testing.assert_allclose(
        model.predict(x, verbose=0), tfc.strip(model)(x), atol=1e-6
    )
    model.save(tmp_path / "m.keras")
    restored = keras.models.load_model(tmp_path / "m.keras")
    assert treatments(restored)[0][1].transforms[0].bits == 2
    assert models.difference(model, restored, x) == 0
    model.save_weights(tmp_path / "m.weights.h5")
    other = tfc.compress(models.small(), {".*": grid})
    other.load_weights(tmp_path / "m.weights.h5")
    assert treatments(other)[0][1].transforms[0].bits == 2
    assert models.difference(model, other, x) == 0


def test_a_grid_that_was_too_fine_for_int8_is_exported_once_it_is_coarse(tmp_path):
    model, x = fitted(Uniform(12))
    tfc.export_tflite(model, tmp_path / "m.tflite", "int8", samples=x)
    assert tfc.report(model)["hidden/kernel"].bits == 2


def test_a_learned_step_starts_anew_for_the_new_grid():
    kernel = np.random.default_rng(0).normal(size=(9, 1))
    treatment = models.dense_treatment(kernel, Mask(), LearnedStep(8))
    (_, transform) = treatment.transforms
    transform.change_bits(4, treatment.bake(upto=transform))
    start = 2 * np.abs(kernel).mean() / np.sqrt(7)
    np.testing.assert_allclose(transform.step, [[start]], rtol=1e-6)


def test_clusters_stay_as_they_are():
    model = tfc.compress(models.small(), {".*": [Codebook(6), Uniform(8)]})
    codebook = treatments(model)[0][1].transforms[0]
    treatments(model)[0][1].variable.assign(np.ones((8, 6)))
    before = codebook.assignments.numpy()
    annealing = BitAnnealing(STAGES)
    annealing.set_model(model)
    annealing.change_bits(4)
    np.testing.assert_array_equal(codebook.assignments.numpy(), before)


def test_the_learning_rate_starts_again_with_each_stage():
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    model = tfc.compress(models.small(), {".*": "uniform"})
    x, y = models.inputs(model, 12), models.classes(12)
    models.compile(model, run_eagerly=True)
    record = Record()
    model.fit(x, y, 1, verbose=0, callbacks=[BitAnnealing(STAGES, decay), record])
    np.testing.assert_allclose(record.rates, [0.1, 0.05, 0.025, 0.0125] * 3, rtol=1e-6)

    models.compile(model, run_eagerly=True)
    model.fit(x, y, 1, verbose=0, callbacks=[BitAnnealing(STAGES, 0.3), record])
    np.testing.assert_allclose(record.rates, [0.3] * 12, rtol=1e-6)


def test_one_bit_has_no_grid_to_leave():
    treatment = models.dense_treatment(np.ones((2, 1)), Uniform(1))
    with pytest.raises(ValueError, match="Start with 2 bits"):
        treatment.transforms[0].change_bits(4, treatment.variable.numpy())


@pytest.mark.parametrize("bits", [1, 17, 0.5])
def test_bits_out_of_range(bits):
    treatment = models.dense_treatment(np.ones((2, 1)), Uniform(8))
    with pytest.raises(ValueError, match="from 2 to 16"):
        treatment.transforms[0].change_bits(bits, treatment.variable.numpy())


def test_nothing_to_anneal():
    with pytest.raises(ValueError, match="no Uniform or LearnedStep"):
        BitAnnealing(STAGES).set_model(tfc.compress(models.small(), {".*": "mask"}))


@pytest.mark.parametrize(
    ("boundaries", "values"), [([4, 2], [8, 4, 2]), ([0], [8, 4]), ([4], [8])]
)
def test_stages_that_do_not_fit(boundaries, values):
    with pytest.raises(ValueError, match="expected|values"):
        Piecewise(boundaries=boundaries, values=values)
