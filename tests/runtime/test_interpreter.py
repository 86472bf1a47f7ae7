import numpy as np
import pytest

import tfcompress as tfc
from tests import models


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "model.tflite"
    model = models.sequential()
    tfc.export_tflite(model, path)
    return path


def test_path_bytes_and_threads_agree(file):
    x = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype("float32")
    results = []
    for source, threads in ((file, 1), (str(file), 2), (file.read_bytes(), 1)):
        with tfc.Interpreter(source, num_threads=threads) as interpreter:
            results.append(interpreter.run(x))
    assert results[0].shape == (5, 5)
    np.testing.assert_allclose(results[0], results[1], atol=1e-6)
    np.testing.assert_array_equal(results[0], results[2])


def test_by_name(file):
    x = np.ones((2, 8, 8, 3), "float32")
    with tfc.Interpreter(file) as interpreter:
        np.testing.assert_array_equal(interpreter.run({"image": x}), interpreter.run(x))
        with pytest.raises(ValueError, match="no input 'imag'.*Did you mean 'image'"):
            interpreter.run({"imag": x})


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 8, 8, 4), (0, 8, 8, 3)])
def test_wrong_shapes(file, shape):
    with tfc.Interpreter(file) as interpreter, pytest.raises(ValueError, match="image"):
        interpreter.run(np.ones(shape, "float32"))


def test_closed(file):
    with tfc.Interpreter(file) as interpreter:
        pass
    with pytest.raises(ValueError, match="is closed"):
        interpreter.run(np.ones((1, 8, 8, 3), "float32"))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a .tflite"):
        tfc.Interpreter(tmp_path / "none.tflite")


@pytest.mark.parametrize("cut", [0, 5, 100, 1000])
def test_truncated_files(file, tmp_path, cut):
    path = tmp_path / "cut.tflite"
    path.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(ValueError, match="cut.tflite"):
        tfc.Interpreter(path)


def test_something_else(tmp_path):
    path = tmp_path / "text.tflite"
    path.write_text("not a model at all")
    with pytest.raises(ValueError, match="TFL3"):
        tfc.Interpreter(path)
