import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.core.compressed import treatments
from tfcompress.pruning.channels.gates import ChannelScale

L = keras.layers


def gates(model):
    return {a.name: a for a in model.layers if isinstance(a, ChannelScale)}


def close(gate, channels):
    scale = np.linspace(0.5, 1.5, gate.scale.shape[0])
    scale[channels] = 0.0
    gate.scale.assign(scale)


def randomise(model, seed=0):
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        low = 0.5 if "variance" in weight.name else -1.0
        weight.assign(generator.uniform(low, 1.0, weight.shape))


def check_small(gated, names):
    """The smaller model computes the same, with layers of the original kinds."""
    small = tfc.shrink(gated)
    x = models.inputs(gated, 8)
    expected = gated(x).numpy()
    np.testing.assert_allclose(small(x), expected, atol=1e-5 * np.abs(expected).max())
    assert not any(
        isinstance(layer, L.EinsumDense | ChannelScale) for layer in small.layers
    )
    return small, [small.get_layer(name).kernel.shape[-1] for name in names]


def residual():
    """A stream of 6 channels that a block adds to, then a dense layer."""

    def convolution(y, name, filters):
        y = L.Conv2D(filters, 3, padding="same", use_bias=False, name=name)(y)
        return L.BatchNormalization(name=f"{name}_norm")(y)

    x = keras.Input((6, 6, 3))
    y = L.ReLU()(convolution(x, "stem", 6))
    z = L.ReLU()(convolution(y, "a1", 4))
    y = L.ReLU()(L.Add()([y, convolution(z, "a2", 6)]))
    y = L.Dense(5, activation="sigmoid", name="hidden")(L.GlobalAveragePooling2D()(y))
    model = keras.Model(x, L.Dense(3, name="head")(y))
    randomise(model)
    return model


def test_coupled_channels_share_a_gate_and_go_together():
    model = residual()
    gated = tfc.gate_channels(model)
    assert list(gates(gated)) == ["gate_stem", "gate_a1", "gate_hidden"]
    assert models.difference(model, gated, models.inputs(model)) <= 1e-6
    close(gated.get_layer("gate_stem"), [1, 4])
    close(gated.get_layer("gate_a1"), [0])
    close(gated.get_layer("gate_hidden"), [2, 3, 4])
    small, sizes = check_small(gated, ["stem", "a1", "a2", "hidden"])
    assert sizes == [4, 3, 4, 2]
    # The activation of `hidden` is a separate layer now.
    assert len(small.layers) == len(model.layers) + 1


def test_all_gates_of_a_network_that_is_scaled_by_itself():
    x = keras.Input((6, 6, 4))
    y = L.Conv2D(4, 3, padding="same", name="a")(x)
    z = L.Dense(4, activation="sigmoid", name="b")(L.GlobalAveragePooling2D()(y))
    y = L.Multiply()([y, L.Reshape((1, 1, 4))(z)])
    y = L.Flatten()(L.ReLU()(y))
    model = keras.Model(x, L.Dense(2, name="head")(y))
    gated = tfc.gate_channels(model)
    assert list(gates(gated)) == ["gate_a"]
    close(gated.get_layer("gate_a"), [1])
    assert check_small(gated, ["a", "b"])[1] == [3, 3]


def lenet():
    model = keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            L.Conv2D(3, 3, name="a"),
            L.MaxPooling2D(),
            L.Conv2D(4, 3, activation="tanh", name="b"),
            L.Flatten(name="flat"),
            L.Dense(6, activation="relu", name="c"),
            L.Dense(2, name="head"),
        ]
    )
    randomise(model)
    return model


def test_positions_of_flattened_images_have_gates_and_channels_go_with_their_last():
    gated = tfc.gate_channels(lenet(), positions=True)
    assert list(gates(gated)) == ["gate_a", "gate_b", "gate_flat", "gate_c"]
    closed = np.ones((9, 4), bool)
    closed[1, 2] = closed[:5, 0] = closed[:, 1:2] = False
    gated.get_layer("gate_flat").scale.assign(closed.ravel())
    close(gated.get_layer("gate_c"), [5])
    small, sizes = check_small(gated, "abc")
    assert sizes == [3, 3, 5]
    rows = small.get_layer("c").kernel.numpy().any(axis=1)
    assert (rows.size, np.count_nonzero(rows)) == (27, 27 - 6)


def test_transforms_on_gates_are_written_out():
    gated = tfc.gate_channels(lenet(), ignore=["c"])
    model = tfc.compress(gated, {"gate_.*/scale": "mask"})
    assert [path for path, _ in treatments(model)] == ["gate_a/scale", "gate_b/scale"]
    treatments(model)[1][1].transforms[0].mask.assign([True, False, False, True])
    assert check_small(model, "abc")[1] == [3, 2, 6]
    plain = tfc.strip(model)
    assert not any("tfcompress" in type(layer).__module__ for layer in plain.layers)


def test_channels_first():
    layer = ChannelScale(axis=1)
    x = np.ones((2, 3, 4, 5), "float32")
    scales = np.arange(6.0, dtype="float32").reshape(2, 3)
    y = layer.call_per_example(x, scales)
    np.testing.assert_array_equal(y[:, :, 0, 0], scales)
    layer.build(x.shape)
    layer.scale.assign([1, 2, 3])
    plain = layer.as_plain()
    assert plain.equation == "ab...,b->ab..."
    np.testing.assert_array_equal(layer(x), plain(x))


def test_a_batch_norm_without_gain_is_constant():
    model = residual()
    norm = model.get_layer("a1_norm")
    norm.gamma.assign([1.0, 0.0, 1.0, 0.0])
    norm.beta.assign([1.0, -1.0, 1.0, -2.0])
    assert check_small(model, ["a1"])[1] == [2]


def test_what_gets_no_gate_is_said():
    x = keras.Input((5, 3))
    y = L.Dense(4, name="after")(L.LSTM(3, name="memory")(x))
    with pytest.warns(UserWarning, match="added no gate to 1 layer: 'memory'"):
        tfc.gate_channels(keras.Model(x, L.Dense(2)(y)))
    with pytest.raises(ValueError, match="no group of channels"):
        tfc.gate_channels(lenet(), ignore=[".*"])
