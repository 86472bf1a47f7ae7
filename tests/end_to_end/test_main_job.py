"""compress, fit, strip, export, benchmark, report: what the toolkit is for."""

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.cli.demo import fit, network


@pytest.fixture(scope="module")
def digits():
    return tfc.datasets.load("digits")


@pytest.fixture(scope="module")
def dense(digits):
    keras.utils.set_random_seed(0)
    model = network((8, 8, 1), 10)
    fit(model, digits[0], epochs=4)
    return model


def accuracy(predict, test):
    return float(np.mean(predict(test[0]).argmax(axis=1) == test[1]))


def test_from_a_keras_model_to_a_small_true_file(digits, dense, tmp_path):
    train, test = digits
    model = tfc.compress(
        dense, {".*": [tfc.transforms.Mask(), tfc.transforms.Uniform(8)]}
    )
    model = tfc.quantize_activations(model)
    schedule = tfc.schedules.Polynomial(
        final_sparsity=0.9, begin_step=0, end_step=50, frequency=10
    )
    fit(model, train, 4, callbacks=[tfc.callbacks.Pruning(schedule, scope="global")])
    assert tfc.report(model).sparsity == pytest.approx(0.9, abs=0.001)

    path = tmp_path / "model.tflite"
    result = tfc.export_tflite(model, path, "int8", samples=test[0])
    assert result.float_operations == {}
    with tfc.Interpreter(path) as interpreter:
        outputs = interpreter.run(test[0])
    plain = tfc.strip(model)
    expected = plain.predict(test[0], verbose=0)
    assert np.mean(outputs.argmax(axis=1) == expected.argmax(axis=1)) >= 0.995
    before = accuracy(lambda x: dense.predict(x, verbose=0), test)
    assert np.mean(outputs.argmax(axis=1) == test[1]) >= before - 0.01

    table = tfc.compare({"dense": dense, "small": path}, test)
    assert table["small"].size_bytes < table["dense"].size_bytes / 3.5
    assert table["small"].nonzero_parameters < table["dense"].nonzero_parameters / 8


def test_post_training_int8_of_a_plain_model(digits, dense, tmp_path):
    train, test = digits
    path = tmp_path / "model.tflite"
    result = tfc.export_tflite(dense, path, "int8", samples=train[0][:256])
    assert result.float_operations == {}
    with tfc.Interpreter(path) as interpreter:
        after = accuracy(interpreter.run, test)
    assert after >= accuracy(lambda x: dense.predict(x, verbose=0), test) - 0.01
