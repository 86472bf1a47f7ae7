"""What works warns of nothing, whatever structure the inputs of a model have."""

import keras
import numpy as np
import pytest

import tfcompress as tfc

# What TensorFlow says of functions that run step by step concerns only these tests.
pytestmark = [
    pytest.mark.usefixtures("uncompiled"),
    pytest.mark.filterwarnings("error::UserWarning"),
    pytest.mark.filterwarnings("ignore:Even though the `tf.config"),
]
L = keras.layers


@pytest.fixture(params=["one", "list", "dict"])
def structure(request):
    """Puts an input, or an array for it, into a structure."""
    return {
        "one": lambda each: each,
        # Arrays stand for lists of one, as in Keras' fit.
        "list": lambda each: each if isinstance(each, np.ndarray) else [each],
        "dict": lambda each: {"image": each},
    }[request.param]


@pytest.fixture
def model(structure):
    image = keras.Input((6, 6, 2), name="image")
    x = L.Conv2D(4, 3, use_bias=False, name="first")(image)
    x = L.ReLU()(L.BatchNormalization()(x))
    x = L.GlobalAveragePooling2D()(L.Conv2D(4, 3, name="second")(x))
    model = keras.Model(structure(image), L.Dense(3, "softmax", name="head")(x))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture
def data(structure):
    x = np.random.default_rng(0).normal(size=(6, 6, 6, 2)).astype("float32")
    return structure(x), np.arange(6) % 3


CALLS = {
    "prune": lambda model, x, y: tfc.prune(model, 0.5, "taylor", data=[(x, y)]),
    "channels": lambda model, x, y: tfc.prune_channels(model, 0.25, data=[(x, y)]),
    "attention": lambda model, x, y: tfc.prune_channels(
        model, 0.25, criterion="pcas", data=[(x, y)]
    ),
    "norms": lambda model, x, y: tfc.rewrites.recalibrate_batch_norm(model, [(x, y)]),
    "score": lambda model, x, y: tfc.sensitivity(
        model, (x, y), bits=(4,), sparsity=(), rank=(), channels=(), measure="score"
    ),
    "recipe": lambda model, x, y: tfc.recipes.deep_compression(
        model, (x, y), epochs=(1, 1), verbose=0
    ),
    "teacher": lambda model, x, y: tfc.distillation.KerasTeacher(model).run(x),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_named_inputs(call, model, data):
    call(model, *data)
