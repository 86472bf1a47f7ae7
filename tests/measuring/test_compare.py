"""A comparison goes through its data once, a batch at a time."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4,)), keras.layers.Dense(3, name="head")]
    model = keras.Sequential(layers)
    path = tmp_path_factory.mktemp("files") / "model.tflite"
    tfc.export_tflite(model, path, verify=False)
    rounded = tfc.compress(model, {".*": {"uniform": {"bits": 2}}})
    return {"keras": model, "2 bits": rounded, "file": path}


def test_batches_of_any_size_count_by_their_samples(models):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(50, 4)).astype("float32")
    y = generator.integers(0, 3, 50)
    expected = np.mean(models["keras"].predict(x, verbose=0).argmax(1) == y)
    # 32 samples and 18.
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)
    for data in ((x, y), dataset):
        found = tfc.compare(models, data, batch_size=7, latency=False)
        assert found["keras"].accuracy == pytest.approx(expected)
        assert found["file"].accuracy == pytest.approx(expected)
        assert found["file"].agreement == 1
        outputs = models["2 bits"].predict(x, verbose=0).argmax(1)
        assert found["2 bits"].accuracy == pytest.approx(np.mean(outputs == y))
    no_labels = tfc.compare(models, x, latency=False)
    assert no_labels["keras"].accuracy is None
    assert no_labels["2 bits"].agreement == found["2 bits"].agreement


def test_small_batches_do_not_change_what_outputs_are_for():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.layers[0].kernel.assign([[1.0]])
    # Logits: the first one alone could be a probability below a half.
    x = np.array([[0.3], [-2.0], [3.0], [-0.4]], "float32")
    y = np.array([1, 0, 1, 0])
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(1)
    for data in ((x, y), dataset):
        assert tfc.compare({"a": model}, data, latency=False)["a"].accuracy == 1.0
