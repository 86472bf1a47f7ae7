"""Layers are called in the usual ways: by name, with None, in training by default."""

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.core.collect import collect
from tfcompress.core.compressed import CompressedLayer, CompressedModel
from tfcompress.core.walk import weight_refs
from tfcompress.pruning.prune import unmasked

L = keras.layers
X = np.random.default_rng(0).normal(size=(8, 6, 4)).astype("float32")


@keras.saving.register_keras_serializable("tests")
class Named(L.Layer):
    """All arguments have names, one is left out, one is a number."""

    def build(self, left_shape, right_shape):
        self.kernel = self.add_weight(shape=(4, 4), name="kernel")

    def call(self, *, left, right, bias=None, times=1.0):
        y = (left - right) @ self.kernel * times
        return y if bias is None else y + bias


class Trains(L.Layer):
    """Adds 1 unless it is told not to train."""

    def call(self, x, training=True):
        return x + 1.0 if training else x


class Block(L.Layer):
    """Does not declare `training`, and does not pass it on."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inside = Trains()

    def call(self, x):
        return self.inside(x)


def attention():
    x = keras.Input((6, 4))
    y = L.MultiHeadAttention(2, 4, name="a")(value=x, query=L.Dense(4)(x))
    return keras.Model(x, L.Dense(2)(inputs=L.LayerNormalization()(y)))


def named():
    x = keras.Input((6, 4))
    y = Named(name="n")(right=x, left=L.Dense(4)(x), bias=None, times=2.0)
    return keras.Model(x, L.Dense(2)(y))


def scaled():
    x = keras.Input((6, 4))
    return keras.Model(x, L.Dense(2)(L.Dense(4, activation="relu")(x) * 4.0))


def masked():
    x = keras.Input((6,), dtype="int32")
    y = L.Embedding(9, 4, mask_zero=True)(x)
    return keras.Model(x, L.LSTM(3)(sequences=L.MultiHeadAttention(1, 4)(y, value=y)))


@pytest.mark.parametrize("make", [attention, named, scaled])
def test_calls_keep_their_arguments(make, tmp_path):
    model = make()
    expected = np.asarray(model(X))
    small = tfc.compress(model, {".*": "mask"})
    np.testing.assert_allclose(small(X), expected, atol=1e-6)
    small.compile("sgd", "mse")
    callbacks = [tfc.callbacks.Pruning(0.5)]
    small.fit(X, np.zeros((8, 6, 2)), verbose=0, callbacks=callbacks)
    small.save(tmp_path / "m.keras")
    for other in (tfc.strip(small), keras.models.load_model(tmp_path / "m.keras")):
        np.testing.assert_allclose(other(X), small(X), atol=1e-6)
    rounded = tfc.quantize_weights(model, 8, X)
    np.testing.assert_allclose(rounded(X), expected, atol=0.05)


def test_masks_reach_layers_that_are_compressed():
    model = masked()
    words = np.array([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 1]])
    small = tfc.compress(model, {".*": "mask"})
    np.testing.assert_allclose(small(words), model(words), atol=1e-6)


def test_models_are_called_by_name():
    class Pair(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = L.Dense(2)

        def call(self, left, right):
            return self.dense(left - right)

    pair = Pair()
    expected = pair(left=X, right=2 * X)
    small = CompressedModel(pair, {0: [tfc.transforms.Mask()]})
    np.testing.assert_array_equal(small(right=2 * X, left=X), expected)


@pytest.mark.parametrize("signal", ["input_moments", "squared_gradient"])
def test_signals_see_inputs_that_were_given_by_name(signal):
    def model(call):
        keras.utils.set_random_seed(0)
        x = keras.Input((3,))
        made = keras.Model(x, call(L.Dense(2, name="d"), x))
        made.compile("sgd", "mse")
        return made

    data = [(X[:, 0, :3], np.zeros((8, 2), "float32"))]
    found = []
    for call in (lambda layer, x: layer(x), lambda layer, x: layer(inputs=x)):
        made = model(call)
        weights = [unmasked(weight_refs(made)[0])]
        found.append(collect(made, weights, data, [signal])[0][signal])
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_layers_that_train_unless_told_otherwise():
    x = keras.Input((6, 4))
    model = keras.Model(x, L.Dense(4, use_bias=True)(Block()(x)))
    exact = np.asarray(model(X, training=False))
    for rounding in ("nearest", "gptq"):
        # The bias compensates for the mean error on inputs at inference.
        rounded = tfc.quantize_weights(model, 3, X, rounding=rounding)
        error = np.asarray(rounded(X, training=False)) - exact
        np.testing.assert_allclose(error.mean((0, 1)), 0, atol=1e-5)
    compressed = CompressedLayer(Trains(), {})
    np.testing.assert_array_equal(compressed(X), X + 1)
    np.testing.assert_array_equal(compressed(X, training=False), X)


def test_subclassed_models_that_train_unless_told_otherwise_are_followed():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = L.Dense(2)

        def call(self, x, training=True):
            return self.dense(x * 3.0 if training else x)

    model = Model()
    model(X)
    rounded = tfc.quantize_weights(model, 8, X)
    np.testing.assert_allclose(
        rounded(X, training=False), model(X, training=False), atol=0.05
    )


@pytest.mark.parametrize("call", [lambda f, x: f(x), lambda f, x: f(inputs=x)])
def test_chains_of_layers_that_are_replaced(call):
    x = keras.Input((8, 8, 3))
    y = call(L.BatchNormalization(), call(L.Conv2D(4, 3), x))
    model = tfc.rewrites.apply(keras.Model(x, y), "fold_batch_norm")
    assert [type(layer).__name__ for layer in model.layers] == ["InputLayer", "Conv2D"]


def normalized():
    keras.utils.set_random_seed(0)
    x = keras.Input((6, 6, 3))
    y = L.SpectralNormalization(L.Conv2D(5, 3, name="c"), name="s")(x)
    return keras.Model(x, L.SpectralNormalization(L.Dense(2, name="d"))(y))


def kernels(model):
    return {w.path.split("/")[-2]: w.numpy() for w in model.trainable_weights}


@pytest.mark.parametrize(
    "rules", [{".*": "mask"}, {".*": "mask", "s/c": tfc.transforms.Uniform(16)}]
)
def test_layers_that_assign_their_own_weights(rules):
    model = normalized()
    small = tfc.compress(model, rules)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 6, 6, 3)), rng.normal(size=(16, 4, 4, 2))
    for trained in (model, small):
        trained.compile(keras.optimizers.SGD(0.05), "mse")
        trained.fit(x, y, 4, epochs=3, verbose=0, shuffle=False)
    for old, new in zip(model.weights, tfc.strip(small).weights, strict=True):
        np.testing.assert_allclose(old, new, rtol=1e-3, atol=1e-3)


def test_pruned_kernels_stay_normalized():
    small = tfc.compress(normalized(), {".*": "mask"})
    small.compile(keras.optimizers.SGD(0.0), "mse")
    x, y = np.ones((16, 6, 6, 3)), np.zeros((16, 4, 4, 2))
    callbacks = [tfc.callbacks.Pruning(tfc.schedules.Constant(0.5))]
    small.fit(x, y, 4, epochs=8, verbose=0, callbacks=callbacks)
    plain = tfc.strip(small)
    for weight in plain.trainable_weights:
        if weight.name == "kernel":
            matrix = weight.numpy().reshape(-1, weight.shape[-1])
            assert np.mean(matrix == 0) == pytest.approx(0.5, abs=0.05)
            assert np.linalg.norm(matrix, 2) == pytest.approx(1, abs=0.02)


def test_state_is_no_kernel():
    refs = {ref.path: ref.is_kernel for ref in weight_refs(normalized())}
    assert refs["s/vector_u"] is False and refs["s/c/kernel"] is True
    frozen = keras.Sequential([keras.Input((4,)), L.Dense(2, name="d")])
    frozen.trainable = False
    assert [ref.is_kernel for ref in weight_refs(frozen)] == [True, False]
