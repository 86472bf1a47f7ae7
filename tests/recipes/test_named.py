"""The recipes that come with the package keep their promises."""

import functools

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.tflite.describe import describe

L = keras.layers


@pytest.fixture(scope="session")
def digits():
    """A trained network, the data, and a folder for files."""
    keras.utils.set_random_seed(0)
    (x, y), test = tfc.datasets.load("digits")
    train = x[:896], y[:896]
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            L.Conv2D(16, 3, padding="same", use_bias=False, name="conv1"),
            L.BatchNormalization(momentum=0.9, name="norm1"),
            L.ReLU(name="relu1"),
            L.Conv2D(32, 3, 2, padding="same", use_bias=False, name="conv2"),
            L.BatchNormalization(momentum=0.9, name="norm2"),
            L.ReLU(name="relu2"),
            L.Flatten(name="flatten"),
            L.Dense(256, activation="relu", name="hidden"),
            L.Dense(10, activation="softmax", name="head"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*train, epochs=15, batch_size=64, verbose=0)
    return model, train, test


class Made:
    """A file, what wrote it, and its accuracy."""

    def __init__(self, export, result, test):
        self.path, self.result = export.path, result
        self.size_bytes = export.size_bytes
        with tfc.Interpreter(self.path) as interpreter:
            self.accuracy = np.mean(interpreter.run(test[0]).argmax(-1) == test[1])


@pytest.fixture(scope="session")
def made(digits, tmp_path_factory):
    """A function of a recipe's name; "" is the float32 file of the network itself."""
    model, train, test = digits

    @functools.cache
    def make(name):
        folder = tmp_path_factory.mktemp(name or "dense")
        if not name:
            path = folder / "dense.tflite"
            return Made(tfc.export_tflite(model, path, samples=test[0]), None, test)
        keras.utils.set_random_seed(0)
        result = tfc.Recipe.named(name).run(model, train, folder)
        return Made(result.exports[-1], result, test)

    return make


# The largest allowed loss of accuracy, in percentage points.
LOST = {
    "binary": 2,
    "distil_into_half": 1,
    "half_the_file": 1,
    "microcontroller_256kb": 1,
    "quarter_the_file": 1,
    "smallest_download": 2,
    "twice_as_fast": 1,
    "use_them_all": 2,
}
# The largest allowed size, as a fraction of the float32 file.
BYTES = {
    "binary": 1 / 20,
    "distil_into_half": 1 / 2,
    "half_the_file": 1 / 2,
    "quarter_the_file": 1 / 4,
    "smallest_download": 1 / 40,
    "use_them_all": 1 / 15,
}


def half_the_work_is_left(small, dense):
    # Counted in the file, not in the model.
    assert describe(small.path).macs <= describe(dense.path).macs / 2


def a_chip_has_room_for_it_but_not_for_the_whole(small, dense):
    fit, before = (tfc.fit_check(made.path, ["stm32l432kc"]) for made in (small, dense))
    assert fit.unsupported == {}
    # Even if the arena is where the code is.
    assert fit.flash_bytes + fit.arena.size_bytes <= 256 * 1024
    assert fit.rows[0].verdict in ("FITS", "TIGHT")
    assert before.rows[0].verdict == "TOO BIG"


def it_was_not_trained(small, dense):
    assert small.result.history == ()


def kernels_have_two_values_in_each_channel(small, dense):
    for kernel in small.result.model.trainable_variables:
        if kernel.name == "kernel":
            columns = kernel.numpy().reshape(-1, kernel.shape[-1]).T
            assert {len(np.unique(column)) for column in columns} == {2}


def it_learned_from_the_whole(small, dense):
    (history,) = small.result.history
    assert history["kl"][-1] < history["kl"][0] / 2


# What else a recipe promises.
PROMISES = {
    "binary": kernels_have_two_values_in_each_channel,
    "distil_into_half": it_learned_from_the_whole,
    "half_the_file": it_was_not_trained,
    "microcontroller_256kb": a_chip_has_room_for_it_but_not_for_the_whole,
    "quarter_the_file": it_was_not_trained,
    "twice_as_fast": half_the_work_is_left,
    "use_them_all": half_the_work_is_left,
}


# One test per recipe: each process that runs tests makes what its tests look at.
@pytest.mark.parametrize("name", tfc.Recipe.names())
def test_it_keeps_its_promises(name, made):
    dense, small = made(""), made(name)
    assert dense.accuracy > 0.97
    assert small.accuracy >= dense.accuracy - LOST[name] / 100
    share = small.size_bytes / dense.size_bytes
    assert share <= BYTES.get(name, 1)
    # So that one is the smallest of all.
    assert share > BYTES["smallest_download"] or name == "smallest_download"
    if name in PROMISES:
        PROMISES[name](small, dense)
