import sys

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.core.macs import macs
from tfcompress.core.nouns import Criterion
from tfcompress.pruning.channels import selection

L = keras.layers
HOME = sys.modules[tfc.prune_channels.__module__]


def chain(kernels):
    """Dense layers with these kernels, biases 1, 2, 3 ..."""
    model = keras.Sequential([keras.Input((np.shape(kernels[0])[0],))])
    for number, kernel in enumerate(kernels):
        layer = L.Dense(np.shape(kernel)[1], name=f"dense{number}")
        model.add(layer)
        layer.kernel.assign(kernel)
        layer.bias.assign(np.arange(1.0, 1 + layer.units))
    return model


def network():
    x = keras.Input((8, 8, 3), name="image")
    y = L.Conv2D(16, 3, padding="same", use_bias=False, name="a")(x)
    y = L.ReLU()(L.BatchNormalization(name="norm")(y))
    z = L.Conv2D(24, 3, padding="same", activation="relu", name="b")(y)
    z = L.Conv2D(16, 3, padding="same", name="c")(z)
    y = L.GlobalAveragePooling2D()(L.Add()([y, z]))
    return keras.Model(x, L.Dense(5, name="head")(y), name="network")


def test_the_neurons_with_the_smallest_weights_go():
    model = chain([[[1.0, -4.0, 2.0, 3.0]], [[1.0], [2.0], [3.0], [4.0]]])
    small = tfc.prune_channels(model, ratio=0.5)
    first, second = (layer.get_weights() for layer in small.layers[1:])
    np.testing.assert_array_equal(first[0], [[-4.0, 3.0]])
    np.testing.assert_array_equal(first[1], [2.0, 4.0])
    np.testing.assert_array_equal(second[0], [[2.0], [4.0]])


@pytest.mark.parametrize(
    ("ratio", "kept"), [(0.0, 8), (0.124, 7), (0.25, 6), (0.5, 4), (0.8, 2), (0.93, 1)]
)
def test_how_many_stay(ratio, kept):
    model = chain([np.ones((1, 8)), np.ones((8, 1))])
    # If scores are equal, the earlier ones stay.
    small = tfc.prune_channels(model, ratio=ratio)
    np.testing.assert_array_equal(
        small.layers[1].bias.numpy(), np.arange(1.0, kept + 1)
    )


def test_coupled_channels_score_the_mean_of_all_that_make_them():
    x = keras.Input((1,))
    y = L.Dense(2, name="a", use_bias=False)(x)
    z = L.Dense(2, name="b", use_bias=False)(x)
    model = keras.Model(x, L.Dense(1, use_bias=False)(L.Add()([y, z])))
    models.set_weights(model, [[[1.0, 2.0]], [[3.0, 1.0]], [[5.0], [7.0]]])
    # L2: 1 + 9 against 4 + 1.
    weights = tfc.prune_channels(model, ratio=0.5).get_weights()
    np.testing.assert_array_equal(weights, [[[1.0]], [[3.0]], [[5.0]]])
    # L1: 1 + 3 against 2 + 1.
    weights = tfc.prune_channels(model, ratio=0.5, criterion="l1").get_weights()
    np.testing.assert_array_equal(weights, [[[1.0]], [[3.0]], [[5.0]]])


def test_global_scope_takes_the_lowest_of_all():
    model = chain([np.full((4, 8), 2.0), np.full((8, 8), 1.0), np.ones((8, 1))])
    small = tfc.prune_channels(model, ratio=0.3, scope="global")
    first, second, _ = small.layers[1:]
    assert first.units == 8
    assert second.units < 8


def test_round_to_the_tiles_of_this_machine(monkeypatch):
    monkeypatch.setattr(selection, "channel_tile", lambda: 16)
    model = keras.Sequential(
        [keras.Input((8,)), L.Dense(48), L.Dense(16), L.Dense(12), L.Dense(3)]
    )
    small = tfc.prune_channels(model, ratio=0.5, round_to="auto")
    # 24 of 48 are one and a half tiles; one tile, or less than one, stays whole.
    assert [layer.units for layer in small.layers[1:]] == [32, 16, 12, 3]


def test_round_to_keeps_multiples():
    small = tfc.prune_channels(network(), ratio=0.4, round_to=8)
    sizes = {
        layer.name: layer.filters for layer in small.layers if "Conv" in str(layer)
    }
    # 16 - 6 = 10 and 24 - 10 = 14.
    assert sizes == {"a": 8, "b": 16, "c": 8}


@pytest.mark.parametrize("target", [0.5, 60_000])
def test_macs_come_down_to_the_target(target):
    model = network()
    before = sum(macs(model).values())
    small = tfc.prune_channels(model, target_macs=target)
    limit = target * before if target <= 1 else target
    assert 0.85 * limit <= sum(macs(small).values()) <= limit


def test_parameters_come_down_to_the_target():
    model = network()
    small = tfc.prune_channels(model, target_parameters=0.3, scope="global")
    assert 0.25 <= small.count_params() / model.count_params() <= 0.3


def test_latency_comes_down_to_the_target(monkeypatch):
    measured = []

    def by_parameters(model):
        measured.append(model.count_params())
        return model.count_params() / 1000

    monkeypatch.setattr(
        "tfcompress.pruning.channels.prune_channels._latency_ms", by_parameters
    )
    small = tfc.prune_channels(network(), target_latency=2.0)
    assert 1500 <= small.count_params() <= 2000
    assert len(measured) < 12


def test_a_latency_is_measured():
    assert HOME._latency_ms(network()) > 0


def test_a_target_that_is_met_already_changes_nothing():
    model = network()
    small = tfc.prune_channels(model, target_macs=1.0)
    assert small.count_params() == model.count_params()


class Taylor(Criterion):
    """`(w dL/dw)²`."""

    needs = frozenset({"gradient"})

    def __call__(self, weight, signals):
        return np.square(weight * signals["gradient"])


def test_criteria_that_need_gradients_get_them():
    model = chain([[[3.0, 1.0]], [[0.0], [1.0]]])
    data = [(np.ones((2, 1), "float32"), np.zeros((2, 1), "float32"))]
    model.compile(loss="mse")
    # The first neuron is the larger one, but nothing reads it.
    small = tfc.prune_channels(model, ratio=0.5, criterion=Taylor(), data=data)
    np.testing.assert_array_equal(small.layers[1].kernel, [[1.0]])


def test_data_set_the_statistics_of_batch_norm_anew():
    x = models.inputs(network(), 64)
    data = [(x[i : i + 16], None) for i in range(0, 64, 16)]
    small = tfc.prune_channels(network(), ratio=0.5, data=data)
    norm = small.get_layer("norm")
    before = keras.Model(small.input, norm.input)(x).numpy()
    np.testing.assert_allclose(norm.moving_mean, before.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, before.var((0, 1, 2)), rtol=1e-4)


def test_ignored_layers_stay():
    small = tfc.prune_channels(network(), ratio=0.5, ignore=["a"])
    # Channels that are added to a's stay with them.
    assert small.get_layer("a").filters == small.get_layer("c").filters == 16
    assert small.get_layer("b").filters == 12


def test_compressed_models_are_stripped():
    model = tfc.compress(network(), {".*": tfc.transforms.Uniform(bits=4)})
    small = tfc.prune_channels(model, ratio=0.5)
    assert tfc.report(small)["b/kernel"].bits == 4
    assert small.get_layer("b").filters == 12


def test_the_model_is_not_changed():
    model = network()
    before = [w.numpy() for w in model.weights]
    tfc.prune_channels(model, ratio=0.5)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_pruned_network_becomes_a_file(tmp_path, precision):
    small = tfc.prune_channels(network(), ratio=0.5)
    x = models.inputs(small, 32)
    result = tfc.export_tflite(small, tmp_path / "m.tflite", precision, samples=x)
    assert not result.float_operations or precision == "float32"


@pytest.mark.parametrize(
    ("ratio", "kept"),
    [
        ({"b": 0.75}, (16, 6)),
        ({".*": 0.5, "b": 0.25}, (8, 18)),
        # "a" and "c" are added.
        ({"c": 0.75}, (4, 24)),
        ({"a": 0.25, "c": 0.25, "b": 0.0}, (12, 24)),
    ],
)
def test_a_ratio_for_each_pattern(ratio, kept):
    small = tfc.prune_channels(network(), ratio)
    assert tuple(small.get_layer(name).filters for name in "ab") == kept
    assert small.get_layer("c").filters == kept[0]


def test_channels_that_are_named_go_whatever_they_score():
    model = chain([[[1.0, -4.0, 2.0, 3.0]], [[1.0], [2.0], [3.0], [4.0]]])
    for gone in ([1, 3], (3, 1), np.array([1, 3])):
        small = tfc.prune_channels(model, {"dense0": gone})
        weights = [layer.get_weights()[0] for layer in small.layers[1:]]
        np.testing.assert_array_equal(weights[0], [[1.0, 2.0]])
        np.testing.assert_array_equal(weights[1], [[1.0], [3.0]])


def test_named_channels_beside_fractions():
    # "a" and "c" are added, so that both lose the same.
    model = network()
    small = tfc.prune_channels(model, {"c": [0, 15], "b": 0.5}, scope="global")
    assert [small.get_layer(name).filters for name in "abc"] == [14, 12, 14]
    before, after = (m.get_layer("a").kernel.numpy() for m in (model, small))
    np.testing.assert_array_equal(after, before[..., 1:15])


def test_each_pattern_shares_out_its_own_ratio():
    # 36 of 8 + 64 weights are removed: 7 small neurons of one and 4 of 8 of the other.
    model = chain([np.ones((1, 8)), 9 * np.ones((8, 8)), np.ones((8, 1))])
    for ratio, kept in (
        ({"dense[01]": 0.5}, (1, 4)),
        ({"dense0": 0.5, "dense1": 0.5}, (4, 4)),
    ):
        small = tfc.prune_channels(model, ratio, scope="global")
        assert tuple(small.get_layer(f"dense{i}").units for i in (0, 1)) == kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "expected exactly one"),
        ({"ratio": {"a": 0.5, "c": 0.25}}, r"produce the same channels.*0\.5, 0\.25"),
        ({"ratio": {"d": 0.5}}, "matches no weight"),
        ({"ratio": {"b": 1.5}}, r"got 1\.5.*\[0, 1\)"),
        ({"ratio": {"b": [24]}}, r"24 units: expected some from 0 to 23"),
        ({"ratio": {"b": list(range(24))}}, "not all of them"),
        ({"ratio": {"b": [-1]}}, "of at least 0|indices of channels"),
        ({"ratio": {".*": [0]}}, "for the groups 'a', 'b': expected a list for one"),
        ({"ratio": {"a": [0], "c": [1]}}, r"produce the same channels.*\[0\], \[1\]"),
        ({"ratio": {"b": 0.99}}, "would empty 1 of the groups"),
        ({"ratio": 0.5, "target_macs": 0.5}, "got 2 of ratio"),
        ({"ratio": 1.0}, r"ratio\): got 1\.0.*\[0, 1\)"),
        ({"ratio": -0.1}, r"\[0, 1\)"),
        (
            {"ratio": 0.97},
            r"would empty 1 of the groups.*'a' \(16 units\).*at most 0\.968",
        ),
        ({"target_macs": 0}, "got 0, expected a positive number"),
        ({"target_macs": 100}, "cannot be reached"),
        ({"ratio": 0.5, "round_to": 0}, "positive integer"),
        ({"ratio": 0.5, "ignore": ["heat"]}, "Did you mean 'head'"),
        ({"ratio": 0.5, "criterion": "l3"}, "Unknown criterion"),
        ({"ratio": 0.5, "criterion": Taylor()}, "pass data="),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        tfc.prune_channels(network(), **arguments)


def test_the_highest_ratio_that_is_named_works():
    assert tfc.prune_channels(network(), ratio=0.968).get_layer("a").filters == 1


def test_weights_that_are_not_finite_are_named():
    model = network()
    model.get_layer("b").bias.assign(np.zeros(24))
    model.get_layer("b").kernel.assign(np.full((3, 3, 16, 24), np.nan))
    with pytest.raises(ValueError, match=r"b/kernel.*NaN"):
        tfc.prune_channels(model, ratio=0.5)


MASKED = {
    "recurrent": lambda: L.GRU(16),
    "bidirectional": lambda: L.Bidirectional(L.LSTM(8)),
    "mean": L.GlobalAveragePooling1D,
}


@pytest.mark.parametrize("head", MASKED.values(), ids=MASKED)
@pytest.mark.parametrize("masks", ["zeros", "layer"])
def test_channels_go_through_layers_that_are_given_masks(head, masks):
    if masks == "zeros":
        x = keras.Input((None,), dtype="int32")
        y = L.Embedding(50, 16, mask_zero=True)(x)
    else:
        x = keras.Input((None, 4))
        y = L.Dense(16)(L.Masking()(x))
    y = L.Dense(8, activation="relu")(head()(L.Dropout(0.1)(y)))
    model = keras.Model(x, L.Dense(3)(y))
    data = np.random.default_rng(0).integers(0, 3, (8, 10, *x.shape[2:]))
    same, half = tfc.prune_channels(model, 0.0), tfc.prune_channels(model, 0.5)
    np.testing.assert_allclose(same(data), model(data), rtol=1e-4, atol=1e-5)
    assert half.count_params() < 0.7 * model.count_params()
    padded = np.concatenate([data, np.zeros_like(data)], axis=1)
    np.testing.assert_allclose(half(padded), half(data), rtol=1e-4, atol=1e-5)


def test_a_rule_where_nothing_can_be_cut():
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, name="last")])
    with pytest.raises(ValueError, match="'last' matches no weight, because no layer"):
        tfc.prune_channels(model, {"last": 0.5})


def test_an_operation_that_fails_on_small_inputs_stays_as_it_is():
    class Row(L.Layer):
        def call(self, inputs):
            return keras.ops.reshape(inputs, (-1, 20 * 4))

    x = keras.Input((20, 4))
    y = Row(name="row")(L.Dense(4, name="before")(x))
    model = keras.Model(x, L.Dense(3)(L.Dense(8, name="after")(y)))
    small = tfc.prune_channels(model, 0.5)
    assert small.get_layer("before").units == 4
    assert small.get_layer("after").units == 4


def test_groups_that_share_a_layer_have_ratios_of_their_own():
    """The first half of the outputs of `wide` is added to those of `narrow`."""
    x = keras.Input((8, 8, 3))
    y = keras.layers.Conv2D(8, 1, name="narrow")(x)
    wide = keras.layers.Conv2D(16, 1, name="wide")(y)
    padded = keras.ops.pad(y, [[0, 0], [0, 0], [0, 0], [0, 8]])
    model = keras.Model(x, keras.layers.Conv2D(2, 1)(padded + wide))
    for ratio, left in (
        ({"narrow": 0.25, "wide": 0.5}, (6, 6 + 4)),
        ({"narrow": 0.5}, (4, 4 + 8)),
        # No other layer determines the first half.
        ({"wide": 0.5}, (4, 4 + 4)),
    ):
        small = tfc.prune_channels(model, ratio)
        found = tuple(small.get_layer(name).filters for name in ("narrow", "wide"))
        assert found == left
