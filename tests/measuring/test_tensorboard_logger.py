import keras
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.callbacks import Pruning, TensorBoardLogger


def test_records_every_weight_each_epoch(tmp_path):
    model = models.compile(tfc.compress(models.sequential(), {".*": "mask"}))
    x, y = models.inputs(model, 32), models.classes(32)
    callbacks = [Pruning(0.5), TensorBoardLogger(tmp_path)]
    model.fit(x, y, batch_size=16, epochs=2, callbacks=callbacks, verbose=0)
    (file,) = (tmp_path / "compression").iterdir()
    seen = {}
    for event in tf.compat.v1.train.summary_iterator(str(file)):
        for value in event.summary.value:
            seen.setdefault(value.tag, []).append(
                (event.step, tf.make_ndarray(value.tensor))
            )
    for weight in ("conv/kernel", "depthwise/kernel", "head/kernel"):
        assert [step for step, _ in seen[f"weights/{weight}"]] == [2, 4]
        assert seen[f"sparsity/{weight}"][-1][1] == pytest.approx(0.5, abs=0.03)
        assert f"unique_values/{weight}" in seen
    assert seen["sparsity/all"][-1][1] == pytest.approx(
        tfc.report(model).sparsity, abs=1e-6
    )


def test_a_model_without_transforms(tmp_path):
    with pytest.raises(ValueError, match="no compressed weight"):
        TensorBoardLogger(tmp_path).set_model(models.sequential())


def test_needs_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"tfcompress\[tensorboard\]"):
        TensorBoardLogger(tmp_path)


def test_every_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match=r"every\): got 0"):
        TensorBoardLogger(tmp_path, every=0)


def test_skips_epochs(tmp_path):
    model = models.compile(
        tfc.compress(
            keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)]), {".*": "mask"}
        )
    )
    model.fit(
        models.inputs(model, 8),
        models.classes(8),
        epochs=3,
        verbose=0,
        callbacks=[TensorBoardLogger(tmp_path, every=2)],
    )
    (file,) = (tmp_path / "compression").iterdir()
    steps = {
        e.step
        for e in tf.compat.v1.train.summary_iterator(str(file))
        if e.summary.value
    }
    assert steps == {2}
