"""Which additions are residual blocks, and the messages about the others."""

import keras
import pytest

from tests.dynamic.skipping import models
from tfcompress.core.graph import Graph
from tfcompress.dynamic.skipping.blocks import find_blocks

L = keras.layers


def blocks(model, at=None):
    return find_blocks(model, Graph(model), at)


def test_identity_shortcuts_are_found_in_order_and_others_are_not():
    found = blocks(models.residual(3))
    assert [block.name for block in found] == ["block0", "block1", "block2"]
    assert [node.operation.name for node in found[1].nodes[:2]] == [
        "block1_a",
        "block1_a_norm",
    ]
    # Two 3x3 convolutions from 4 to 4 channels at 8 x 8 positions.
    assert [block.macs for block in found] == [2 * 9 * 4 * 4 * 64] * 3


def test_the_macs_of_a_shared_layer_are_those_of_one_call():
    shared = L.Dense(5, use_bias=False)
    x = inputs = keras.Input((5,))
    for name in "ab":
        x = L.Add(name=name)([x, shared(x)])
    assert [block.macs for block in blocks(keras.Model(inputs, x))] == [25, 25]


def test_operations_add_as_well_as_layers():
    inputs = keras.Input((5,))
    x = L.Dense(5, name="stem")(inputs)
    model = keras.Model(inputs, x + L.Dense(5)(x))
    assert [block.branch.shape for block in blocks(model)] == [(None, 5)]


def test_patterns_choose():
    assert [b.name for b in blocks(models.residual(3), ["block[02]"])] == [
        "block0",
        "block2",
    ]


def test_what_others_read_too_cannot_be_skipped():
    inputs = keras.Input((5,))
    y = L.Dense(5)(inputs)
    z = L.Add(name="sum")([inputs, L.ReLU()(y)])
    with pytest.raises(ValueError, match="'sum' cannot be skipped: neither input is"):
        blocks(keras.Model(inputs, [z, y]), ["sum"])


def test_of_nested_blocks_the_innermost():
    inputs = keras.Input((5,))
    x = L.Dense(5)(inputs)
    inner = L.Add(name="inner")([x, L.Dense(5)(x)])
    outer = L.Add(name="outer")([inputs, inner])
    model = keras.Model(inputs, outer)
    assert [block.name for block in blocks(model)] == ["inner"]
    assert [block.name for block in blocks(model, ["outer"])] == ["outer"]
    with pytest.raises(ValueError, match="'inner' lies in the branch of 'outer'"):
        blocks(model, ["inner", "outer"])


def test_a_block_that_changes_the_shape_is_refused_with_both():
    match = (
        r"'changes' cannot be skipped: it changes the shape from \(8, 8, 4\) to \(4, 4"
    )
    with pytest.raises(ValueError, match=match):
        blocks(models.residual(), ["changes"])


def test_unknown_names_are_refused_with_near_ones():
    with pytest.raises(ValueError, match="Did you mean 'block0'"):
        blocks(models.residual(), ["blok0"])


def test_other_layers_are_refused():
    with pytest.raises(
        ValueError, match="'stem' cannot be skipped: it does not add two"
    ):
        blocks(models.residual(), ["stem"])


def test_a_model_without_blocks_is_refused():
    x = keras.Input((5,))
    with pytest.raises(ValueError, match="has no block to skip: expected an addition"):
        blocks(keras.Model(x, L.Dense(5)(x)))
