"""Dynamic networks go wherever a model goes, without a first call on data."""

import keras
import numpy as np
import pytest

import tfcompress as tfc

L = keras.layers
X = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype("float32")
MODELS = {
    "skip_net": lambda model: tfc.dynamic.SkipNet(model),
    "block_drop": lambda model: tfc.dynamic.BlockDrop(model),
    "channel_skip": lambda model: tfc.dynamic.ChannelSkip(model, ["inside"]),
    "slimmable": lambda model: tfc.dynamic.Slimmable(model, widths=[0.5, 1.0]),
    "early_exit": lambda model: tfc.dynamic.EarlyExit(model, at=["stem"]),
}


def network():
    x = keras.Input((8, 8, 3))
    y = L.Conv2D(8, 3, padding="same", activation="relu", name="stem")(x)
    inside = L.Conv2D(8, 3, padding="same", name="inside")(y)
    y = L.GlobalAveragePooling2D()(L.Add(name="block")([y, inside]))
    return keras.Model(x, L.Dense(3, name="head")(y))


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param](network())


def test_reported(model):
    found = tfc.report(model)
    assert found.macs >= 64 * 27 * 8 + 64 * 72 * 8 + 8 * 3
    names = {row.name for row in found.weights}
    assert {"stem/kernel", "inside/kernel", "head/kernel"} <= names


def test_exported(model, tmp_path):
    tfc.export_tflite(model, tmp_path / "m.tflite", samples=X)
    with tfc.Interpreter(tmp_path / "m.tflite") as interpreter:
        found = interpreter.run(X)
    expected = model.predict(X, verbose=0)
    found = list(found.values()) if isinstance(found, dict) else [found]
    for one, other in zip(found, keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_cut(model):
    with pytest.warns(UserWarning, match="are left out"):
        small = tfc.prune_channels(model, 0.5)
    assert small.count_params() < 0.75 * model.count_params()


@pytest.mark.usefixtures("uncompiled")
def test_a_student_is_told_what_of_its_training_is_left_out():
    with pytest.warns(UserWarning, match="compute_loss of SkipNet are left out"):
        distiller = tfc.distillation.Distiller(MODELS["skip_net"](network()), network())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile("adam", loss)
    history = distiller.fit(X, np.arange(8) % 3, verbose=0).history
    assert np.isfinite(history["loss"]).all()
