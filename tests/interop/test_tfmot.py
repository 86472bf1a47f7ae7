"""Conversion of real tf_keras and tfmot models, built in one separate process."""

import fcntl
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.interop import tfmot

# Not importorskip: importing tfmot switches this whole process to Keras 2.
needs_extra = pytest.mark.skipif(
    not tfmot.is_installed(), reason='needs pip install "tfcompress[tfmot]"'
)

SCRIPT = """
import json
import pathlib
import sys

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras
from tensorflow_model_optimization.python.core.clustering.keras.experimental import (
    cluster as sparse_clustering,
)

import tfcompress as tfc

L = keras.layers
folder = pathlib.Path(sys.argv[1])
keras.utils.set_random_seed(1)
random = np.random.RandomState(2)
images = random.rand(16, 8, 8, 3).astype("float32")
words = random.randint(0, 20, (16, 6)).astype("float32")
labels = random.randint(0, 4, 16)
loss = "sparse_categorical_crossentropy"


def record(name, model, *inputs, **arrays):
    outputs = model(list(inputs) if len(inputs) > 1 else inputs[0], training=False)
    arrays |= {f"input{i}": value for i, value in enumerate(inputs)}
    arrays |= {f"output{i}": v.numpy() for i, v in enumerate(tf.nest.flatten(outputs))}
    np.savez(folder / f"{name}.npz", **arrays)


def block():
    return keras.Sequential(
        [
            L.Input((8, 8, 3)),
            L.Conv2D(6, 3, padding="same", use_bias=False, name="conv"),
            L.BatchNormalization(name="bn"),
            L.ReLU(name="relu"),
        ],
        name="block",
    )


def image_model(nested):
    inputs = x = keras.Input((8, 8, 3), name="image")
    for layer in [block()] if nested else block().layers:
        x = layer(x)
    y = L.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    if nested:
        y = L.SeparableConv2D(6, 3, padding="same", name="separable")(y)
    x = L.GlobalAveragePooling2D(name="pool")(L.Add(name="add")([x, y]))
    return keras.Model(inputs, L.Dense(4, activation="softmax", name="head")(x))


def word_model():
    return keras.Sequential(
        [
            L.Embedding(20, 8, input_length=6, name="words"),
            L.LSTM(5, name="lstm"),
            L.Dense(4, activation="softmax", name="head"),
        ]
    )


def randomize(model):
    for weight in model.weights:
        weight.assign(random.rand(*weight.shape) * 0.3 + 0.05)
    return model


# Pruned, functional, with a nested model.
schedule = tfmot.sparsity.keras.ConstantSparsity(0.5, 0, frequency=1)
pruned = tfmot.sparsity.keras.prune_low_magnitude(
    image_model(nested=True), pruning_schedule=schedule
)
# Tracing a graph takes longer than the few steps.
pruned.compile("adam", loss, run_eagerly=True)
updates = [tfmot.sparsity.keras.UpdatePruningStep()]
pruned.fit(images, labels, 8, 2, verbose=0, callbacks=updates)
masks = {
    f"{layer.layer.name}/{weight.name.split('/')[-1][:-2]}": mask.numpy() != 0
    for part in (pruned, pruned.get_layer("block"))
    for layer in part.layers
    for weight, mask, _ in getattr(layer, "pruning_vars", ())
}
stripped = tfmot.sparsity.keras.strip_pruning(pruned)
pruned.save(folder / "pruned.keras")
record("pruned", stripped, images, **masks)

# Pruned, recurrent, converted without a file.
live = tfmot.sparsity.keras.prune_low_magnitude(word_model())
for layer in live.layers:
    for weight, mask, _ in layer.pruning_vars:
        mask.assign(random.permutation(mask.numpy().size).reshape(mask.shape) % 2)
        weight.assign(weight * mask)
expected = tfmot.sparsity.keras.strip_pruning(live)(words).numpy()
converted = tfc.interop.tfmot.convert(live)
report = {
    "difference": float(abs(converted(words).numpy() - expected).max()),
    "sparsity": {
        f"{layer.name}/{treatment.variable.name}": float((treatment.bake() == 0).mean())
        for layer in converted.layers
        for treatment in layer.treatments
    },
}
(folder / "live.json").write_text(json.dumps(report))

# Clustered with the zeros kept.
base = [*stripped.get_layer("block").layers, *stripped.layers[-2:]]
clustered = sparse_clustering.cluster_weights(
    keras.Sequential([L.Input((8, 8, 3)), *base]),
    number_of_clusters=6,
    cluster_centroids_init=tfmot.clustering.keras.CentroidInitialization.LINEAR,
    preserve_sparsity=True,
)
clustered.compile(keras.optimizers.SGD(0.01), loss, run_eagerly=True)
clustered.fit(images, labels, 8, 2, verbose=0)
clustered.save(folder / "clustered", save_format="tf")
expected = tfmot.clustering.keras.strip_clustering(clustered)
kernel = expected.get_layer("conv").get_weights()[0]
record("clustered", expected, images, kernel=kernel)

# Quantize-aware, with ranges measured on the final weights.
floating = randomize(image_model(nested=False))
quantized = tfmot.quantization.keras.quantize_model(floating)
for _ in range(20):
    quantized(images, training=True)
quantized.save(folder / "quantized.h5")
weights = {layer.name: w for layer in floating.layers for w in layer.get_weights()[:1]}
record("quantized", quantized, images, **weights)


@keras.saving.register_keras_serializable("somewhere")
class Own(L.Layer):
    pass


keras.Sequential([L.Input((3,)), Own()]).save(folder / "own.keras")


# Plain models in .h5 files, which are read without tf_keras.
def plain(name, inputs, outputs, scale=1):
    model = randomize(keras.Model(inputs, outputs))
    shapes = [(3, *tensor.shape[1:]) for tensor in model.inputs]
    values = [scale * random.rand(*shape).astype("float32") for shape in shapes]
    model.save(folder / f"{name}.h5")
    record(name, model, *values)


x = keras.Input((8, 8, 4))
y = L.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(x)
y = L.SeparableConv2D(4, 3, padding="same")(L.BatchNormalization()(y))
y = L.Conv2DTranspose(3, 3, strides=2)(L.Conv2D(4, 3, groups=2)(y))
plain("convolutions", x, L.SpatialDropout2D(0.2)(y))

x = keras.Input((6,))
y = L.GRU(4, return_sequences=True)(L.Embedding(7, 5, mask_zero=True)(x))
y = L.RNN([L.LSTMCell(3), L.GRUCell(3)], return_sequences=True)(y)
y = L.Bidirectional(L.LSTM(3, recurrent_activation="hard_sigmoid"))(y)
plain("recurrent", x, L.TimeDistributed(L.Dense(2))(L.RepeatVector(2)(y)), scale=6)

x = keras.Input((6, 4))
y = L.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)
plain("attention", x, L.LayerNormalization()(L.Attention(use_scale=True)([x, y])))

x = keras.Input((8, 8, 4))
y = L.Conv2D(4, 1, name="first/conv")(1.0 - 2.0 * x[:, ::2, ::2])
mean = tf.reduce_mean(y, axis=[1, 2, 3], keepdims=True)
y = tf.concat([tf.nn.relu(y), tf.abs(y)], axis=-1) * mean
plain("operators", x, L.Activation("hard_sigmoid")(tf.reshape(y, (-1, 4, 32))))

layers = [L.Input((4,)), L.Dense(4), L.BatchNormalization()]
inner = keras.Sequential(layers, name="inner")
inner.trainable = False
one, two = keras.Input((4,)), keras.Input((4,))
plain("nested", [one, two], L.Subtract()([inner(inner(one)), inner(two)]))

encoder, decoder = keras.Input((5, 3)), keras.Input((4, 3))
_, hidden, cell = L.LSTM(6, return_state=True)(encoder)
y = L.LSTM(6, return_sequences=True)(decoder, initial_state=[hidden, cell])
plain("states", [encoder, decoder], [y, hidden])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The models' files, created once for all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / "keras2"
    with open(base / "keras2.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "states.npz").exists():
            make(folder)
    return folder


def make(folder):
    folder.mkdir(exist_ok=True)
    root = str(pathlib.Path(tfc.__file__).parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    settings = {"TF_USE_LEGACY_KERAS": "1", "PYTHONPATH": paths}
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-2000:]


@pytest.fixture(scope="module")
def pruned(folder):
    return tfc.load_model(folder / "pruned.keras")


def load(folder, name):
    with np.load(folder / f"{name}.npz") as arrays:
        return dict(arrays)


def check_outputs(model, expected, atol=1e-5):
    inputs = [value for name, value in expected.items() if name.startswith("input")]
    wanted = [value for name, value in expected.items() if name.startswith("output")]
    outputs = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    for ours, theirs in zip(keras.tree.flatten(outputs), wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=atol)


def treatments(model):
    found = {}
    for layer in model._flatten_layers():
        for treatment in getattr(layer, "treatments", ()):
            found[f"{layer.name}/{treatment.variable.name}"] = treatment
    return found


@needs_extra
def test_pruned_model_keeps_masks_and_predictions(folder, pruned):
    expected = load(folder, "pruned")
    check_outputs(pruned, expected)
    found = treatments(pruned)
    assert set(found) == {"conv/kernel", "separable/pointwise_kernel", "head/kernel"}
    for name, treatment in found.items():
        assert treatment.transforms == [tfc.transforms.Mask()]
        mask = treatment.transforms[0].mask.numpy()
        np.testing.assert_array_equal(mask, expected[name])
        assert 0.45 < 1 - mask.mean() < 0.55
    assert "tf_keras" not in sys.modules


@needs_extra
def test_converted_model_trains_on_without_losing_its_zeros(folder, pruned):
    model = keras.models.clone_model(pruned)
    model.set_weights(pruned.get_weights())
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(load(folder, "pruned")["input0"], np.zeros(16), verbose=0)
    before, after = (tfc.strip(m).get_layer("head").kernel for m in (pruned, model))
    assert np.any(before.numpy() != after.numpy())
    np.testing.assert_array_equal(before.numpy() == 0, after.numpy() == 0)


@needs_extra
def test_live_recurrent_model(folder):
    report = json.loads((folder / "live.json").read_text())
    assert report["difference"] < 1e-5
    assert set(report["sparsity"]) == {
        "words/embeddings",
        "lstm/kernel",
        "lstm/recurrent_kernel",
        "head/kernel",
    }
    assert all(abs(value - 0.5) < 0.05 for value in report["sparsity"].values())


@needs_extra
def test_clustered_saved_model_keeps_centroids_and_zeros(folder):
    expected = load(folder, "clustered")
    model = tfc.load_model(folder / "clustered")
    check_outputs(model, expected)
    found = treatments(model)
    assert set(found) == {"conv/kernel", "head/kernel"}
    conv = found["conv/kernel"]
    assert conv.transforms == [tfc.transforms.Mask(), tfc.transforms.Codebook(5)]
    np.testing.assert_array_equal(conv.bake(), expected["kernel"])
    assert len(np.unique(expected["kernel"])) <= 6
    assert np.mean(expected["kernel"] == 0) >= 0.5


@needs_extra
def test_quantized_model_computes_the_same_with_ranges(folder):
    expected = load(folder, "quantized")
    model = tfmot.convert(folder / "quantized.h5", activations=True)
    ranges = {
        layer.name: layer.range()
        for layer in model.layers
        if isinstance(layer, tfc.layers.FakeQuant)
    }
    assert all(ranges.values())
    assert {"image_range", "relu_range", "add_range", "head_range"} <= set(ranges)
    # The softmax is rounded to 1/256, as its TFLite kernel does; tfmot leaves it.
    check_outputs(model, expected, atol=1 / 500)
    uniform = tfc.transforms.Uniform
    found = treatments(model)
    assert found["conv/kernel"].transforms == [uniform(8)]
    assert found["head/kernel"].transforms == [uniform(8, per_channel=False)]
    assert "depthwise/kernel" in found or "depthwise/depthwise_kernel" in found
    for name, treatment in found.items():
        latent = treatment.variable.numpy()
        np.testing.assert_array_equal(latent, expected[name.split("/")[0]])


@needs_extra
def test_own_class_is_one_clear_error(folder):
    with pytest.raises(ValueError, match=r"own\.keras.*Own.*custom classes") as info:
        tfmot.convert(folder / "own.keras")
    assert "\n" not in str(info.value)
    assert "Traceback" not in str(info.value)


@needs_extra
@pytest.mark.parametrize(
    "name",
    ["convolutions", "recurrent", "attention", "operators", "nested", "states"],
)
def test_plain_h5_predicts_the_same(folder, name):
    model = tfc.load_model(folder / f"{name}.h5")
    check_outputs(model, load(folder, name))


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"tf_keras and tensorflow_model.*\[tfmot\]"):
        tfmot.convert("model.h5")


def test_other_arguments_are_refused(monkeypatch):
    monkeypatch.setattr(tfmot, "_check_installed", lambda: None)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="new")
    with pytest.raises(TypeError, match="got the model 'new', .*needs no conversion"):
        tfmot.convert(model)
    with pytest.raises(
        TypeError, match="got {}, expected the path of .* or a tf_keras"
    ):
        tfmot.convert({})
    with pytest.raises(ValueError, match=r"nowhere\.h5 does not exist"):
        tfmot.convert("nowhere.h5")
