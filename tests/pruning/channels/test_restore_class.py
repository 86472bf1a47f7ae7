import keras
import numpy as np
import pytest

import tfcompress as tfc

L = keras.layers
X = np.random.default_rng(0).normal(size=(3, 5, 8)).astype("float32")


@keras.saving.register_keras_serializable("restore_class")
class Block(L.Layer):
    """A feed-forward part; `hidden` counts the widths of both of its branches."""

    def __init__(self, hidden, scale=2, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.scale = hidden, scale
        self.gate = L.Dense(hidden // 2, activation="sigmoid", name="gate")
        self.value = L.Dense(hidden // 2, name="value")
        # Its name is that of Keras, which counts layers.
        self.out = L.Dense(8)

    def build(self, shape):
        self.gate.build(shape)
        self.value.build(shape)
        self.out.build((*shape[:-1], self.hidden // 2))

    def call(self, x):
        return x + self.scale * self.out(self.gate(x) * self.value(x))

    def get_config(self):
        return {**super().get_config(), "hidden": self.hidden, "scale": self.scale}


@keras.saving.register_keras_serializable("restore_class")
class Tower(keras.Model):
    """Dense layers whose widths are a list."""

    def __init__(self, widths, **kwargs):
        super().__init__(**kwargs)
        self.widths = list(widths)
        self.towers = [
            L.Dense(width, activation="relu", name=f"dense_{i}")
            for i, width in enumerate(self.widths)
        ]
        self.head = L.Dense(2, name="head")

    def call(self, x):
        for dense in self.towers:
            x = dense(x)
        return self.head(x)

    def get_config(self):
        return {"name": self.name, "widths": self.widths}


@keras.saving.register_keras_serializable("restore_class")
class Attention(L.Layer):
    """Heads whose width follows from their number."""

    def __init__(self, heads, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads
        self.attention = L.MultiHeadAttention(heads, 8 // heads, name="attention")

    def build(self, shape):
        self.attention.build(shape, shape)

    def call(self, x):
        return self.attention(x, x)

    def get_config(self):
        return {**super().get_config(), "heads": self.heads}


def blocks(*layers):
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((5, 8))
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, L.Dense(3, name="head")(x), name="blocks")


def outputs(model, x=X):
    return np.asarray(model(x, training=False))


def test_blocks_are_layers_again(tmp_path):
    model = blocks(Block(24, name="a"), L.LayerNormalization(), Block(16, name="b"))
    small = tfc.prune_channels(model, {"a/value": 0.75, "b/value": 0.5})
    before = model.count_params()
    restored = tfc.restore_class(small, model)
    assert [type(layer) for layer in restored.layers] == [
        type(layer) for layer in model.layers
    ]
    assert [restored.get_layer(name).hidden for name in "ab"] == [6, 8]
    assert restored.get_layer("a").scale == 2
    assert restored.count_params() == small.count_params() < before
    assert model.count_params() == before
    np.testing.assert_array_equal(outputs(restored), outputs(small))
    restored.save(tmp_path / "small.keras")
    loaded = keras.models.load_model(tmp_path / "small.keras")
    np.testing.assert_array_equal(outputs(loaded), outputs(small))


def test_a_layer_that_is_called_twice_stays_one():
    block = Block(16, name="a")
    model = blocks(block, block)
    small = tfc.prune_channels(model, {"a/value": 0.5})
    restored = tfc.restore_class(small, model)
    assert restored.count_params() == small.count_params()
    assert len(restored.layers) == len(model.layers)
    np.testing.assert_array_equal(outputs(restored), outputs(small))


def test_a_model_is_of_its_class_again():
    model = Tower([16, 12])
    model(X)
    small = tfc.prune_channels(model, {"dense_0": 0.5, "dense_1": 0.25})
    restored = tfc.restore_class(small, model)
    assert type(restored) is Tower
    assert restored.widths == [8, 9]
    np.testing.assert_array_equal(outputs(restored), outputs(small))


def test_a_model_that_only_calls_the_model_may_be_cut():
    model = Tower([16, 12], name="tower")
    model(X)
    inputs = keras.Input((5, 8))
    around = keras.Model(inputs, model(inputs))
    small = tfc.prune_channels(around, {".*dense_0": 0.5})
    restored = tfc.restore_class(small, model)
    assert restored.widths == [8, 12]
    np.testing.assert_array_equal(outputs(restored), outputs(small))


def test_simple_layers_are_those_of_the_cut_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            L.Conv2D(8, 3, padding="same"),
            L.BatchNormalization(),
            L.Reshape((64, 8)),
            L.Conv1D(4, 3),
            L.LSTM(6),
            L.Dense(2),
        ]
    )
    small = tfc.prune_channels(model, 0.5)
    restored = tfc.restore_class(small, model)
    assert type(restored) is keras.Sequential
    assert [type(layer) for layer in restored.layers] == [
        type(layer) for layer in model.layers
    ]
    x = np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype("float32")
    np.testing.assert_array_equal(outputs(restored, x), outputs(small, x))


def test_nested_models_are_expanded():
    inner = keras.Sequential(
        [L.Dense(8, name="dense"), Block(16, name="a")], name="inner"
    )
    model = blocks(inner, L.Dense(8, name="dense"))
    small = tfc.prune_channels(model, {".*a/value": 0.5})
    restored = tfc.restore_class(small, model)
    assert [layer.name for layer in restored.layers][1:] == [
        "inner_dense",
        "a",
        "dense",
        "head",
    ]
    np.testing.assert_array_equal(outputs(restored), outputs(small))


def test_what_shrink_leaves():
    model = blocks(Block(16, name="a"))
    block = model.get_layer("a")
    keep = np.arange(8) % 2
    block.out.kernel.assign(block.out.kernel * keep[:, None])
    restored = tfc.restore_class(tfc.shrink(model), model)
    assert restored.get_layer("a").hidden == 8
    np.testing.assert_allclose(outputs(restored), outputs(model), rtol=1e-5, atol=1e-6)


def test_what_is_frozen_stays_frozen():
    model = blocks(Block(16, name="a"))
    model.get_layer("a").gate.trainable = False
    small = tfc.prune_channels(model, {"a/value": 0.5})
    restored = tfc.restore_class(small, model)
    assert not restored.get_layer("a").gate.trainable
    assert restored.get_layer("a").value.trainable


def test_other_weights_are_an_error():
    model = blocks(Block(16, name="a"))
    split = tfc.factorize(model, {"a/value": {"svd": {"rank": 2}}})
    with pytest.raises(
        ValueError, match="weight 'a/value_in/kernel' of small is not one of"
    ):
        tfc.restore_class(split, model)
    with pytest.raises(ValueError, match="of model is not one of small"):
        tfc.restore_class(model, blocks(Block(16, name="a"), Block(16, name="b")))


def test_sizes_that_no_argument_sets_are_an_error():
    model = blocks(Attention(4, name="a"))
    small = tfc.prune_channels(model, {"a/attention/query": 0.5})
    message = (
        r"Attention 'a' gives weight 'a/attention/query/kernel' the shape \(8, 2, 2\)"
    )
    with pytest.raises(ValueError, match=message):
        tfc.restore_class(small, model)


class Own(keras.Sequential):
    def train_step(self, data):
        return super().train_step(data)


def test_training_that_is_left_out_is_said():
    model = Own([keras.Input((8,)), L.Dense(8, name="wide"), L.Dense(2)])
    with pytest.warns(UserWarning, match="train_step of Own"):
        small = tfc.prune_channels(model, {"wide": 0.5})
    with pytest.warns(UserWarning, match="restore the class of.*train_step of Own"):
        tfc.restore_class(small, model)
