"""The ladder as an engine: rungs in order until one is good enough."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress as tfc


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    network = [keras.Input((8,)), layers.Dense(16), layers.ReLU(), layers.Dense(6)]
    return keras.Sequential(network)


@pytest.fixture(scope="module")
def data(model):
    x = np.random.default_rng(0).normal(size=(256, 8)).astype("float32")
    return x, np.argmax(model.predict(x, verbose=0), axis=1)


def methods(candidate):
    return tuple(candidate.member[name]["model"] for name in candidate.member)


def search(model, data, drop, **arguments):
    budget = {"accuracy_drop": drop}
    return tfc.compress_to(model, budget, data, engine="ladder", verbose=0, **arguments)


def test_it_ends_at_the_first_rung_that_is_good_enough(model, data):
    result = search(model, data, 0.1)
    assert [methods(c) for c in result.candidates] == [(False, None)]
    assert result.best.size_bytes < result.dense.size_bytes


def test_rungs_come_in_order_and_the_best_is_named(model, data):
    with pytest.raises(ValueError, match="the best candidate loses") as error:
        search(model, data, 0, precision="int4")
    assert "The candidates are in" in str(error.value)
    folder = str(error.value).split("candidates are in '")[1].split("'")[0]
    result = search(model, data, 0.9, precision="int4", folder=folder)
    assert [methods(c) for c in result.candidates] == [(False, None)]


@pytest.mark.parametrize(
    ("engine", "space", "message"),
    [
        ("ladder", {"bits": [4]}, "'bits', which Ladder does not choose"),
        ("knapsack", {"rounding": ["gptq"]}, "'rounding', which Knapsack does not"),
    ],
)
def test_engines_say_what_they_do_not_choose(model, data, engine, space, message):
    with pytest.raises(ValueError, match=message):
        tfc.compress_to(model, {"accuracy_drop": 0.1}, data, space, engine)


def test_the_later_rungs_start_from_the_better_base(model, data, tmp_path, monkeypatch):
    from tfcompress.search.study import Study

    given = {"dense": 0.9, "000": 0.5, "001": 0.6, "002": 0.7, "003": 0.85, "004": 0.89}
    monkeypatch.setattr(Study, "_accuracy", lambda self, path: given[path.stem])
    result = search(model, data, 0.02, folder=tmp_path)
    assert [methods(c) for c in result.candidates] == [
        (False, None),
        (False, "nearest"),
        (True, "nearest"),
        (True, "bias_correction"),
        (True, "gptq"),
    ]
    assert result.best is result.candidates[-1]
    steps = dict(result.best.recipe.steps)
    assert list(steps) == [
        "equalize",
        "quantize_activations",
        "quantize_weights",
        "export",
    ]
    with tfc.Interpreter(result.best.path) as interpreter:
        outputs = interpreter.run(data[0])
    assert np.mean(outputs.argmax(axis=1) == data[1]) > 0.9
