import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.callbacks import Pruning
from tfcompress.core.compressed import treatments
from tfcompress.schedules import Constant, Polynomial
from tfcompress.transforms import Codebook, Mask, Uniform


def masks(model):
    return {name: t.transforms[0].mask.numpy() for name, t in treatments(model)}


def one_layer(values):
    layer = keras.layers.Dense(len(values[0]), use_bias=False, name="d")
    model = keras.Sequential([keras.Input((len(values),)), layer])
    layer.kernel.assign(values)
    return tfc.compress(model, {".*": Mask()})


@pytest.mark.parametrize("sparsity", [0.0, 0.125, 0.3, 0.5, 0.9])
def test_exactly_the_smallest_go(sparsity):
    values = np.array([[3.0, -1.0], [8.0, -4.0], [2.0, 7.0], [-6.0, 5.0]])
    model = one_layer(values)
    pruning = Pruning(sparsity)
    pruning.set_model(model)
    pruning.update(0)
    count = int(8 * sparsity + 0.5)
    expected = np.abs(values) > count
    np.testing.assert_array_equal(masks(model)["d/kernel"], expected)


def test_equal_weights_are_pruned_exactly():
    model = one_layer(np.ones((4, 2)))
    pruning = Pruning(0.5)
    pruning.set_model(model)
    pruning.update(0)
    assert masks(model)["d/kernel"].sum() == 4


@pytest.mark.parametrize("pattern", ["weight", "block", "n_of_m", "filter"])
@pytest.mark.parametrize(
    "scope", ["local", "global", "erdos_renyi", "erdos_renyi_kernel"]
)
def test_every_pattern_in_every_scope(pattern, scope):
    model = tfc.compress(models.residual(), {".*": Mask()})
    pruning = Pruning(0.5, pattern=pattern, scope=scope)
    pruning.set_model(model)
    pruning.update(0)
    assert tfc.report(model).sparsity == pytest.approx(0.5, abs=0.1)
    for _, treatment in treatments(model):
        assert treatment.bake().any()


def test_filter_pattern_prunes_whole_filters_also_of_transposed_and_depthwise():
    model = tfc.compress(models.residual(), {".*": Mask()})
    pruning = Pruning(0.5, pattern="filter", criterion="l2")
    pruning.set_model(model)
    pruning.update(0)
    for _, treatment in treatments(model):
        mask = treatment.transforms[0].mask.numpy()
        columns = treatment.ref.layout.to_canonical(mask).reshape(
            -1, treatment.ref.layout.num_outputs
        )
        assert all(len(set(column)) == 1 for column in columns.T)


@pytest.mark.parametrize(
    "options", [{}, {"steps_per_execution": 3}, {"jit_compile": True}]
)
def test_schedule_is_kept_while_fitting(options):
    model = models.compile(tfc.compress(models.sequential(), {".*": Mask()}), **options)
    x, y = models.inputs(model, 96), models.classes(96)
    schedule = Polynomial(final_sparsity=0.8, begin_step=2, end_step=14, frequency=4)
    pruning = Pruning(schedule, scope="global")
    history = model.fit(x, y, batch_size=16, epochs=4, callbacks=[pruning], verbose=0)
    logged = history.history["sparsity"]
    assert logged[-1] == pytest.approx(0.8, abs=0.005)
    assert logged == sorted(logged)
    assert tfc.report(tfc.strip(model)).sparsity == pytest.approx(logged[-1])


def test_masked_weights_stay_zero_under_training():
    model = models.compile(tfc.compress(models.sequential(), {".*": Mask()}))
    x, y = models.inputs(model, 64), models.classes(64)
    model.fit(x, y, callbacks=[Pruning(0.6)], verbose=0)
    before = masks(model)
    model.fit(x, y, epochs=2, verbose=0)
    for name, treatment in treatments(model):
        assert (treatment.bake()[~before[name]] == 0).all()


def test_two_replicas():
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = models.compile(
            tfc.compress(models.sequential(), {".*": [Mask(), Uniform()]})
        )
    x, y = models.inputs(model, 64), models.classes(64)
    history = model.fit(
        x, y, batch_size=16, epochs=2, callbacks=[Pruning(0.7)], verbose=0
    )
    assert history.history["sparsity"][-1] == pytest.approx(0.7, abs=0.01)
    assert models.difference(model, tfc.strip(model), x[:4]) <= 1e-6


def test_a_later_codebook_follows_the_mask():
    model = tfc.compress(models.sequential(), {".*": [Mask(), Codebook(4)]})
    pruning = Pruning(0.5)
    pruning.set_model(model)
    pruning.update(0)
    for _, treatment in treatments(model):
        value = treatment.bake()
        assert (value == 0).mean() == pytest.approx(0.5, abs=0.05)
        assert len(np.unique(value)) <= 5


def test_custom_training_loop():
    model = tfc.compress(models.sequential(), {".*": Mask()})
    pruning = Pruning(
        Polynomial(final_sparsity=0.5, begin_step=0, end_step=10, frequency=5)
    )
    pruning.set_model(model)
    seen = []
    for step in range(1, 12):
        pruning.update(step)
        seen.append(round(pruning.sparsity, 2))
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(0.5, abs=0.01)


def test_resuming_takes_up_the_schedule_where_the_optimizer_stands():
    model = models.compile(tfc.compress(models.sequential(), {".*": Mask()}))
    x, y = models.inputs(model, 32), models.classes(32)
    model.fit(x, y, batch_size=8, epochs=3, verbose=0)
    pruning = Pruning(Constant(0.5, begin_step=5))
    model.fit(x, y, batch_size=8, verbose=0, callbacks=[pruning])
    # The step at which it was due had passed before this callback was added.
    assert pruning.sparsity == pytest.approx(0.5, abs=0.01)


TRAINING = """
import os, sys
import keras, numpy as np
import tfcompress as tfc
from tests import models

class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == int(sys.argv[2]):
            os._exit(9)

folder = sys.argv[1]
keras.utils.set_random_seed(0)
model = models.compile(tfc.compress(models.sequential(), {".*": "mask"}))
x, y = models.inputs(model, 64), models.classes(64)
schedule = tfc.schedules.Polynomial(
    final_sparsity=0.8, begin_step=0, end_step=30, frequency=5
)
callbacks = [
    tfc.callbacks.Pruning(schedule),
    keras.callbacks.BackupAndRestore(folder + "/backup"),
    Kill(),
]
history = model.fit(
    x, y, batch_size=8, epochs=4, shuffle=False, verbose=0, callbacks=callbacks
)
weights = [t.bake() for _, t in tfc.core.compressed.treatments(model)]
step = int(model.optimizer.iterations.numpy())
np.savez(folder + "/end.npz", *weights, epochs=len(history.epoch), step=step)
"""


def test_killed_between_epochs_and_resumed(tmp_path, monkeypatch):
    for folder in ("whole", "killed"):
        (tmp_path / folder).mkdir()
    killed = subprocess.Popen(
        [sys.executable, "-c", TRAINING, tmp_path / "killed", "2"],
        cwd=pathlib.Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def run(folder):
        keras.utils.clear_session()
        monkeypatch.setattr(sys, "argv", ["", str(tmp_path / folder), "99"])
        exec(TRAINING, {})

    run("whole")
    output = killed.communicate()[0]
    assert killed.returncode == 9, output[-2000:]
    # This process never saw the training that was killed.
    run("killed")
    expected, actual = (np.load(tmp_path / f / "end.npz") for f in ("whole", "killed"))
    assert actual["epochs"] == 2
    assert actual["step"] == expected["step"] == 32
    for name in expected.files:
        if name.startswith("arr"):
            zeros = [(a[name] == 0).mean() for a in (expected, actual)]
            assert zeros[0] == zeros[1]
            assert zeros[0] == pytest.approx(0.8, abs=0.02)


def test_checkpoint_holds_the_masks(tmp_path):
    model = models.compile(tfc.compress(models.sequential(), {".*": Mask()}))
    x, y = models.inputs(model, 32), models.classes(32)
    path = tmp_path / "best.keras"
    model.fit(
        x, y, verbose=0,
        callbacks=[Pruning(0.5), keras.callbacks.ModelCheckpoint(path)],
    )  # fmt: skip
    restored = keras.models.load_model(path)
    for name, mask in masks(model).items():
        np.testing.assert_array_equal(masks(restored)[name], mask)
    assert int(restored.optimizer.iterations.numpy()) == 1


def test_a_model_without_masks():
    with pytest.raises(ValueError, match="no Mask"):
        Pruning(0.5).set_model(models.sequential())


def test_weights_that_turned_nan():
    model = tfc.compress(models.sequential(), {".*": Mask()})
    pruning = Pruning(0.5)
    pruning.set_model(model)
    treatments(model)[0][1].variable.assign(np.full((3, 3, 3, 4), np.nan))
    with pytest.raises(ValueError, match="conv/kernel has 108 NaN"):
        pruning.update(0)
    assert all(mask.all() for mask in masks(model).values())


@pytest.mark.parametrize("sparsity", [1.0, -0.5, 50])
def test_sparsity_out_of_range(sparsity):
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        Pruning(sparsity)


class TwoOptimizers(keras.Model):
    """Trains its two parts with its own optimizers, like a GAN."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def compile(self, first_optimizer, second_optimizer, **kwargs):
        super().compile(**kwargs)
        self.first_optimizer = first_optimizer
        self.second_optimizer = second_optimizer

    def call(self, x):
        return self.second(self.first(x))

    def train_step(self, x):
        parts = (
            (self.first, self.first_optimizer),
            (self.second, self.second_optimizer),
        )
        for part, optimizer in parts:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self(x)))
            variables = part.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)
        return {"loss": loss}


@pytest.mark.parametrize("kwargs", [{}, {"optimizer": "sgd"}], ids=str)
def test_models_that_train_by_optimizers_of_their_own(kwargs):
    first = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16)])
    second = keras.Sequential([keras.Input((16,)), keras.layers.Dense(4)])
    model = TwoOptimizers(tfc.compress(first, {".*": "mask"}), second)
    model.compile(keras.optimizers.Adam(), keras.optimizers.Adam(), **kwargs)
    model.build((None, 8))
    schedule = Polynomial(final_sparsity=0.5, begin_step=0, end_step=10, frequency=1)
    x = np.random.default_rng(0).normal(size=(96, 8)).astype("float32")
    model.fit(x, batch_size=8, verbose=0, callbacks=[Pruning(schedule)])
    ((_, treatment),) = treatments(model)
    assert np.mean(treatment.bake() == 0) == 0.5
