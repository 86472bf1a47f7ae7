import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models


def test_statistics_of_all_samples():
    x = np.random.default_rng(0).normal(2.0, 3.0, (60, 4)).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dropout(0.5),
            keras.layers.BatchNormalization(),
        ]
    )
    batches = [(x[i : i + 20], None) for i in (0, 20, 40)]
    norm = tfc.rewrites.recalibrate_batch_norm(model, batches).layers[-1]
    np.testing.assert_allclose(norm.moving_mean, x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, x.var(axis=0), rtol=1e-5)


@pytest.mark.parametrize("build", [models.sequential, models.subclassed])
def test_copies_and_changes_nothing_else(build):
    model = build()
    before = [w.numpy() for w in model.weights]
    x = models.inputs(model, 16)
    changed = tfc.rewrites.recalibrate_batch_norm(model, [x])
    for old, now, new in zip(before, model.weights, changed.weights, strict=True):
        np.testing.assert_array_equal(old, now)
        assert ("moving" in new.path) == bool(np.any(new.numpy() != old))
    # The copy does not stay in training mode.
    assert changed(x, training=True).shape == changed(x).shape
    assert "call" not in vars(
        changed.norm if build is models.subclassed else changed.layers[1]
    )


def test_no_data():
    with pytest.raises(ValueError, match=r"got \[\], expected batches"):
        tfc.rewrites.recalibrate_batch_norm(models.sequential(), [])
