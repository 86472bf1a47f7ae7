import concurrent.futures

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.tflite.read import read, write


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


def test_threads_share_one(file):
    batches = np.random.default_rng(0).normal(size=(4, 20, 8, 8, 3)).astype("float32")
    with (
        tfc.Interpreter(file) as interpreter,
        concurrent.futures.ThreadPoolExecutor(4) as pool,
    ):
        right = [interpreter.run(batch) for batch in batches]
        for _ in range(20):
            found = pool.map(interpreter.run, batches)
            for one, other in zip(found, right, strict=True):
                np.testing.assert_array_equal(one, other)


def test_closed_while_another_thread_runs(file):
    interpreter, x = tfc.Interpreter(file), np.ones((50, 8, 8, 3), "float32")
    right = interpreter.run(x)

    def run_until_closed():
        while True:
            np.testing.assert_array_equal(interpreter.run(x), right)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run_until_closed) for _ in range(2)]
        concurrent.futures.wait(runs, timeout=0.2)
        interpreter.close()
        for run in runs:
            with pytest.raises(ValueError, match="is closed"):
                run.result()


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


@pytest.fixture(scope="module")
def bytes_file(tmp_path_factory):
    """A model of images of bytes, and its int8 file, whose input runs from 0 to 255."""
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    images = np.random.default_rng(0).integers(0, 256, (64, 4, 4, 1)).astype("uint8")
    images[0, 0, 0], images[0, 0, 1] = 0, 255
    path = tmp_path_factory.mktemp("bytes") / "m.tflite"
    tfc.export_tflite(model, path, "int8", samples=images)
    return model, images, path


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float16", "float64"])
def test_numbers_mean_the_same_whatever_their_type(bytes_file, dtype):
    model, images, path = bytes_file
    with tfc.Interpreter(path) as interpreter:
        found = interpreter.run(images.astype(dtype))
    np.testing.assert_allclose(found, model(images.astype("float32")), atol=0.03)


def test_raw_integers_go_in_and_come_out_as_they_are(bytes_file):
    _, images, path = bytes_file
    with tfc.Interpreter(path) as interpreter:
        (entry,) = interpreter.input_details.values()
        scale, zero_point = entry["quantization"]
        levels = np.rint(images / scale) + zero_point
        raw = interpreter.run(levels.astype("int8"), raw=True)
        assert raw.dtype == np.int8
        (output,) = interpreter.output_details.values()
        scale, zero_point = output["quantization"]
        np.testing.assert_allclose(
            (raw.astype(float) - zero_point) * scale,
            interpreter.run(images),
            rtol=1e-6,
        )
        with pytest.raises(ValueError, match="from -128 to 127, got integers"):
            interpreter.run(images, raw=True)
        with pytest.raises(ValueError, match="takes int8 values"):
            interpreter.run(images.astype("float32"), raw=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x * np.nan, "NaN"),
        (lambda x: x / 0.0, "infinite"),
        (lambda x: x + 1j, "real numbers, got complex"),
        (lambda x: np.full(x.shape, None), "real numbers, got object"),
        (lambda x: x.astype(int) * 1000, "from 0 to 255, got integers from"),
        (lambda x: x.astype(int) - 200, r"got integers from -\d+"),
    ],
)
def test_values_that_an_integer_input_cannot_take(bytes_file, change, message):
    _, images, path = bytes_file
    with np.errstate(all="ignore"):
        inputs = change(images.astype("float32"))
    with (
        tfc.Interpreter(path) as interpreter,
        pytest.raises(ValueError, match=message),
    ):
        interpreter.run(inputs)


class Two(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((1, 2), tf.float32, "x")])
    def encode(self, x):
        return {"code": 2 * x}

    @tf.function(input_signature=[tf.TensorSpec((1, 3), tf.float32, "y")])
    def decode(self, y):
        return {"back": y - 1}


@pytest.fixture(scope="module")
def two_signatures(tmp_path_factory):
    folder, module = str(tmp_path_factory.mktemp("saved")), Two()
    signatures = {"encode": module.encode, "decode": module.decode}
    tf.saved_model.save(module, folder, signatures=signatures)
    return tf.lite.TFLiteConverter.from_saved_model(folder).convert()


def test_signatures_can_be_chosen(two_signatures):
    x, y = np.float32([[1, 2], [3, 4]]), np.float32([[1, 2, 3]])
    with tfc.Interpreter(two_signatures, signature="encode") as interpreter:
        np.testing.assert_array_equal(interpreter.run(x), 2 * x)
    with tfc.Interpreter(two_signatures, signature="decode") as interpreter:
        np.testing.assert_array_equal(interpreter.run(y), y - 1)
        assert list(interpreter.input_details) == ["y"]


def test_the_signature_that_nobody_chose_is_said(two_signatures):
    with pytest.warns(UserWarning, match=r"\['decode', 'encode'\]: 'decode' is used"):
        assert list(tfc.Interpreter(two_signatures).output_details) == ["back"]
    with pytest.raises(ValueError, match="no signature 'encod'.*Did you mean 'encode'"):
        tfc.Interpreter(two_signatures, signature="encod")


def _without_outputs(file):
    file.subgraphs[0].outputs, file.signatureDefs = [], None


def _with_another_signature(file):
    file.signatureDefs[0].outputs[0].tensorIndex = 0


def _huge(file):
    file.subgraphs[0].tensors[0].shape = [1 << 15] * 3


def _empty(file):
    for tensor in file.subgraphs[0].tensors:
        tensor.shape = [2, 0]


def _written_twice(file):
    file.subgraphs[0].operators[0].outputs = [0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_written_twice, r"tensors \[0\] are written by several"),
        (_without_outputs, "1 inputs and 0 outputs"),
        (_with_another_signature, "contradicts itself"),
        (_huge, r"shape \[32768, 32768, 32768\] .*contradicts itself"),
        (_empty, r"shape \[2, 0\] with \d+ stored bytes contradicts itself"),
    ],
)
def test_files_that_contradict_themselves(tmp_path, damage, message):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    file = read(tfc.export_tflite(model, tmp_path / "m.tflite").path.read_bytes())
    damage(file)
    with pytest.raises(ValueError, match=message):
        tfc.Interpreter(write(file))


def test_places_that_a_table_does_not_have(tmp_path):
    x = keras.Input((3,), dtype="int32")
    model = keras.Model(x, keras.layers.Embedding(5, 2)(x))
    path = tfc.export_tflite(model, tmp_path / "m.tflite").path
    with pytest.raises(ValueError, match="cannot run on these inputs: .*tables have"):
        tfc.Interpreter(path).run(np.int32([[1, 2, 99]]))
