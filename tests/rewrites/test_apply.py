import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.rewrites import FoldBatchNorm, apply

L = keras.layers


@pytest.mark.parametrize(
    "layer",
    [
        L.Conv2D(4, 3, name="c"),
        L.Conv2D(4, 3, use_bias=False, strides=2, name="c"),
        L.DepthwiseConv2D(3, depth_multiplier=2, name="c"),
        L.Conv2DTranspose(4, 3, name="c"),
        L.Conv2D(4, 3, groups=2, name="c"),
        L.Dense(4, name="c"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_folding_is_exact(layer):
    x = keras.Input((8, 8, 2))
    model = keras.Model(x, L.ReLU()(L.BatchNormalization(name="norm")(layer(x))))
    norm = model.get_layer("norm")
    generator = np.random.default_rng(0)
    for variable in norm.variables:
        variable.assign(generator.random(variable.shape) + 0.2)
    norm.gamma.assign(-norm.gamma)
    folded = apply(model, FoldBatchNorm())
    assert [type(a).__name__ for a in folded.layers][1:] == [
        type(layer).__name__,
        "ReLU",
    ]
    assert models.difference(model, folded, models.inputs(model)) <= 1e-5


def test_what_cannot_be_folded_stays():
    x = keras.Input((8, 8, 2))
    y = L.Conv2D(4, 3, activation="relu")(x)
    y = L.BatchNormalization()(y)
    z = L.Conv2D(4, 3)(y)
    y = L.Add()([L.BatchNormalization()(z), z])
    model = keras.Model(x, y)
    folded = apply(model, "fold_batch_norm")
    assert sum(isinstance(a, L.BatchNormalization) for a in folded.layers) == 2
    assert models.difference(model, folded, models.inputs(model)) == 0


def test_nested_models_are_written_out():
    inner = keras.Sequential(
        [keras.Input((8, 8, 2)), L.Conv2D(3, 3, name="c")], name="inner"
    )
    x = keras.Input((8, 8, 2))
    model = keras.Model(x, L.BatchNormalization(name="norm")(inner(x)))
    folded = apply(model, FoldBatchNorm())
    assert [layer.name for layer in folded.layers][1:] == ["c"]
    assert models.difference(model, folded, models.inputs(model)) <= 1e-5


def test_equal_names_in_nested_models_are_told_apart():
    def inner(name):
        return keras.Sequential([keras.Input((4,)), L.Dense(4, name="d")], name=name)

    model = keras.Sequential([keras.Input((4,)), inner("one"), inner("two")])
    flat = tfc.core.graph.flatten(model)
    assert [layer.name for layer in flat.layers][1:] == ["d", "two_d"]
    assert models.difference(model, flat, models.inputs(model)) == 0
