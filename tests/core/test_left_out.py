"""A request is either fulfilled, or what was not done is reported."""

import re
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.core.left_out import closed_layers, warn_of

L = keras.layers


@keras.saving.register_keras_serializable("left_out")
class Mlp(L.Layer):
    """It contains dense layers, and calls TensorFlow, which no graph shows."""

    def build(self, shape):
        self.up = L.Dense(32, activation="relu", name="up")
        self.down = L.Dense(shape[-1], name="down")
        self.up.build(shape)
        self.down.build((*shape[:-1], 32))

    def call(self, x):
        return tf.add(x, self.down(self.up(x)))


def composite(*others):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((6, 16)), Mlp(name="first"), Mlp(name="second"), *others],
        name="composite",
    )


def heard(function, *args, **kwargs):
    """The result of a function, and our own warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*args, **kwargs)
    ours = [str(w.message) for w in caught if issubclass(w.category, UserWarning)]
    return result, ours


def test_what_is_closed():
    x = keras.Input((6, 16))
    y = Mlp(name="own")(L.TimeDistributed(L.Dense(16), name="each")(x))
    y = L.MultiHeadAttention(2, 4)(y, y)
    y = L.Bidirectional(L.LSTM(3))(L.RNN(L.GRUCell(3), return_sequences=True)(y))
    y = L.SpectralNormalization(L.Dense(6), name="normed")(y)
    model = keras.Model(x, tfc.compress(models.small(), {"head": "mask"}).layers[-1](y))
    assert set(closed_layers(model)) == {"own", "each", "normed"}
    assert closed_layers(models.recurrent()) == {}
    assert closed_layers(tfc.compress(models.residual(), {".*": "mask"})) == {}


def test_warnings_name_a_few_layers():
    layers = {f"block/{i}": L.Dense(1) for i in range(6)}
    _, (message,) = heard(warn_of, layers, "took {layers}", "Why.")
    assert message == (
        "took 6 layers: 'block/0' (Dense), 'block/1' (Dense), 'block/2' (Dense), "
        "'block/3' (Dense) and 2 more. Why."
    )
    assert heard(warn_of, {}, "took {layers}", "Why.") == (None, [])


BOTH = r"2 layers.*: 'first' \(Mlp\), 'second' \(Mlp\)"


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (
            tfc.prune_channels,
            {"ratio": 0.5},
            "left 2 layers unchanged, and cut no other",
        ),
        (tfc.channel_groups, {}, "did not look into 2 layers"),
        (tfc.quantize_activations, {}, "placed no ranges inside 2 layers"),
        (
            tfc.factorize,
            {"verbose": 0},
            "left 2 layers unchanged, and replaced no other",
        ),
    ],
)
def test_composite_layers_are_named(function, arguments, message):
    _, (found,) = heard(function, composite(), **arguments)
    assert re.match(rf"{function.__name__} {message}", found)
    assert re.search(BOTH, found)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (tfc.prune_channels, {"ratio": 0.0}),
        (tfc.prune_channels, {"ratio": 0.5, "ignore": [Mlp]}),
        (tfc.factorize, {"where": "wide", "verbose": 0}),
    ],
)
def test_what_nobody_asked_for_is_not_named(function, arguments):
    wide = L.Dense(32, name="wide")
    _, found = heard(function, composite(wide, L.Dense(32, name="last")), **arguments)
    assert found == []


@pytest.mark.parametrize("model", [models.recurrent, models.residual, models.nested])
def test_models_of_keras_layers_are_not_named(model):
    for function in (tfc.channel_groups, tfc.quantize_activations):
        assert heard(function, model())[1] == []
    assert heard(tfc.prune_channels, model(), 0.5)[1] == []


def test_what_else_there_is_gets_done():
    model = composite(L.Dense(32, name="wide"), L.Dense(8, name="last"))
    small, (message,) = heard(tfc.prune_channels, model, 0.5)
    assert "left 2 layers unchanged:" in message
    assert small.get_layer("wide").units == 16


def test_lines_in_tables():
    groups, _ = heard(tfc.channel_groups, composite())
    assert "'first' (Mlp) contains layers, whose channels are not followed" in str(
        groups
    )
    plan = tfc.factorization.plan_factorization(composite())
    assert plan["first"].layer == "Mlp"
    assert plan["first"].skipped == (
        "Layers inside a layer that cannot be opened are not replaced."
    )


def test_nothing_done_is_said():
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, name="only")], name="m")
    _, (message,) = heard(tfc.prune_channels, model, 0.5)
    assert message.startswith("prune_channels cut nothing from 'm': there is no group")
    _, (message,) = heard(tfc.factorize, model, "tucker", verbose=0)
    assert message.startswith("factorize replaced no layer of 'm': 'only', Dense, not ")


def test_kernels_that_are_not_rounded_are_named():
    x = keras.Input((6, 4))
    y = L.LSTM(5, name="lstm")(L.SeparableConv1D(5, 3, name="separable")(x))
    model = keras.Model(x, L.Dense(2, name="head")(y))
    arguments = {"scales": "max", "correct_bias": False}
    _, (message,) = heard(tfc.quantize_weights, model, 4, **arguments)
    assert re.match(
        r"quantize_weights left 2 layers unchanged: 'separable' \(SeparableConv1D\), "
        r"'lstm' \(LSTM\)\. It rounds kernels of Dense",
        message,
    )
    assert heard(tfc.quantize_weights, model, {"head": 4}, **arguments)[1] == []
    ints = keras.Sequential([keras.Input((4,)), L.Dense(3, name="a")])
    ints.get_layer("a").quantize("int8")
    _, (message,) = heard(tfc.quantize_weights, ints, 4, **arguments)
    assert "left 1 layer unchanged: 'a' (Dense)" in message
    assert "that are not already quantized by Keras" in message


def test_kernels_whose_inputs_cannot_be_seen():
    @keras.saving.register_keras_serializable("left_out")
    class Unused(Mlp):
        def call(self, x):
            return x + self.up.kernel[0, 0] * 0 + self.down(self.up(x))

        def build(self, shape):
            super().build(shape)
            self.spare = L.Dense(4, name="spare")
            self.spare.build(shape)

    model = keras.Sequential([keras.Input((6, 16)), Unused(name="own")])
    x = np.random.default_rng(0).normal(size=(32, 6, 16)).astype("float32")
    small, (message,) = heard(tfc.quantize_weights, model, 4, x, "gptq")
    assert (
        "the kernels of 1 layer to the nearest levels: 'own/spare' (Dense)" in message
    )
    spare = np.asarray(small.layers[-1].spare.kernel)
    assert all(len(np.unique(column)) <= 15 for column in spare.T)
