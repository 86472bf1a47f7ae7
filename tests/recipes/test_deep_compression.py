import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.recipes.lessons import Lessons

# A few steps of small models take less time than compiling them.
pytestmark = pytest.mark.usefixtures("uncompiled")


def blobs(count=256):
    """Four classes in the corners of a square, seen by 16 inputs."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, count)
    centres = np.repeat(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), 8, axis=1)
    noise = generator.normal(scale=0.2, size=(count, 16))
    return (centres[labels] + noise).astype(np.float32), labels


def network(activation=None):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((16,)),
            keras.layers.Dense(32, activation="relu", name="hidden"),
            keras.layers.Dense(4, activation=activation, name="head"),
        ]
    )


def wrong(model, x, y):
    return np.mean(model.predict(x, verbose=0).argmax(axis=1) != y)


def test_from_a_model_to_a_small_file(tmp_path):
    x, y = blobs()
    model = network()
    before = model.get_weights()
    result = tfc.recipes.deep_compression(
        model,
        (x, y),
        tmp_path / "small.tflite",
        sparsity=0.8,
        num_clusters={".*": 4, ".*/bias": 2},
        epochs=(2, 1),
        learning_rate=(1e-2, 1e-3),
        batch_size=32,
        teacher=model,
        validation_data=(x, y),
        codec="huffman",
    )
    for old, new in zip(before, model.get_weights(), strict=True):
        assert (old == new).all()
    report = tfc.report(result.model)
    assert report.sparsity == pytest.approx(0.8, abs=1e-3)
    assert report["hidden/kernel"].unique_values <= 5
    assert report["head/bias"].unique_values <= 3
    assert (result.model.layers[0].kernel.numpy() == 0).tolist() == (
        result.pruned.layers[0].kernel.numpy() == 0
    ).tolist()
    assert len(result.history["prune"]["val_accuracy"]) == 2
    assert result.export.path.is_file()
    assert "hidden/kernel" in str(result) and "small.tflite" in str(result)


def test_a_dataset_labels_and_a_sparsity_for_each_layer():
    x, y = blobs()
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)
    result = tfc.recipes.deep_compression(
        network("softmax"),
        data,
        sparsity={"hidden": 0.75, "head": 0.5},
        num_clusters={"hidden": 3},
        epochs=(4, 1),
        learning_rate=(5e-2, 1e-3),
    )
    rows = {row.name: row for row in result.storage.weights}
    assert (rows["hidden/kernel"].kept, rows["head/kernel"].kept) == (128, 64)
    # The head shares nothing and keeps its zeros.
    assert tfc.report(result.model)["head/kernel"].unique_values == 65
    assert wrong(result.model, x, y) < 0.05
    assert result.export is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sparsity": {"nothing": 0.5}}, "matches no weight"),
        ({"sparsity": {"hidden": 1.0}}, r"got 1.0, expected .* in \[0, 1\)"),
        ({"num_clusters": {"hiden": 3}, "epochs": (0, 0)}, "Did you mean 'hidden'"),
        ({"epochs": 3}, r"epochs\): got 3, expected two integers"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        tfc.recipes.deep_compression(network(), blobs(32), **arguments)


def test_bad_lessons():
    x, y = blobs(32)
    model = network()
    with pytest.raises(
        ValueError, match=r"temperature\): got 0, expected a positive number"
    ):
        Lessons(model, (x, y), teacher=model, temperature=0)
    endless = tf.data.Dataset.from_tensors((x, y)).repeat()
    with pytest.raises(ValueError, match="no known length"):
        Lessons(model, endless)


def test_each_layer_has_its_own_sparsity_with_a_teacher_too():
    inner = keras.Sequential(
        [keras.Input((8,)), *(keras.layers.Dense(8, name=name) for name in "abc")],
        name="body",
    )
    # The name of the trained model is not that of a layer.
    model = keras.Sequential(
        [keras.Input((8,)), inner, keras.layers.Dense(5, name="d")], name="a_to_d"
    )
    fractions = {"a": 0.25, "b": 0.5, "body/c": 0.75, "d": 0.9}
    x, y = models.inputs(model, 32), models.classes(32)
    result = tfc.recipes.deep_compression(
        model, (x, y), sparsity=fractions, epochs=(1, 0), teacher=model
    )
    found = {
        row.name.split("/")[-2]: row.sparsity
        for row in tfc.report(result.model).weights
        if row.macs
    }
    assert found["a"] == 0.25
    assert found["b"] == 0.5
    assert found["c"] == 0.75
    assert found["d"] == pytest.approx(0.9)
