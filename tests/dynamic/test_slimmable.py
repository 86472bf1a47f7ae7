"""Slimmable networks: order of channels, shared weights, training, plain small models."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcompress as tfc

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 8, 8, 3)).astype("float32")
Y = RNG.integers(0, 4, 48)

pytestmark = pytest.mark.usefixtures("uncompiled")


def scattered(model):
    """The model with weights and statistics like trained ones, scales of both signs."""
    for variable in model.weights:
        value = variable.numpy() + 0.3 * RNG.normal(size=variable.shape)
        variable.assign(np.abs(value) if "variance" in variable.path else value)
    return model


def dense():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, "relu", name="a"),
            layers.Dense(3, name="b"),
        ]
    )


def residual():
    """Batch norms, a residual sum, a concatenation, a flattened image."""
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(8, 3, padding="same", use_bias=False, name="a")(x)
    y = a = layers.ReLU()(layers.BatchNormalization(name="a_norm")(y))
    y = layers.Conv2D(8, 3, padding="same", name="b")(y)
    y = layers.Add()([a, layers.BatchNormalization(name="b_norm")(y)])
    z = layers.Conv2D(4, 1, activation="relu", name="c")(y)
    y = layers.Concatenate()([y, z])
    y = layers.AveragePooling2D(4)(y)
    y = layers.Dense(12, "tanh", name="d")(layers.Flatten()(y))
    y = layers.LayerNormalization()(y)
    return keras.Model(x, layers.Dense(4, name="end")(y))


def separable():
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(8, 3, strides=2, use_bias=False)(x)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.DepthwiseConv2D(3, use_bias=False)(y)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.GlobalAveragePooling2D()(y)
    return keras.Model(x, layers.Dense(4, "softmax")(y))


class TestOrder:
    @pytest.mark.parametrize("build", [residual, separable])
    def test_the_network_computes_the_same(self, build):
        model = scattered(build())
        slimmable = tfc.dynamic.Slimmable(model)
        np.testing.assert_allclose(
            slimmable.predict(X, verbose=0), model.predict(X, verbose=0), atol=1e-5
        )

    def test_important_channels_come_first(self):
        network = tfc.dynamic.Slimmable(scattered(dense())).network
        norms = np.linalg.norm(network.get_layer("a").kernel, axis=0)
        assert np.all(np.diff(norms) <= 0)

    def test_without_a_criterion_they_stay(self):
        model = scattered(dense())
        network = tfc.dynamic.Slimmable(model, criterion=None).network
        np.testing.assert_array_equal(
            network.get_layer("a").kernel, model.get_layer("a").kernel
        )

    def test_scales_of_batch_norms_are_positive_and_stay_so(self):
        slimmable = tfc.dynamic.Slimmable(scattered(residual()))
        gammas = [
            slimmable.network.get_layer(name).gamma for name in ("a_norm", "b_norm")
        ]
        assert all(np.all(gamma.numpy() >= 0) for gamma in gammas)
        assert all(gamma.constraint is not None for gamma in gammas)


class TestAt:
    def test_sizes_by_hand(self):
        slimmable = tfc.dynamic.Slimmable(residual(), widths=[0.25, 0.5, 1.0])
        shapes = [tuple(w.shape) for w in slimmable.at(0.25).weights]
        assert shapes[0] == (3, 3, 3, 2)
        # 2 + 1 channels at 2 x 2 positions; a quarter of 12.
        assert (12, 3) in shapes
        assert (3, 4) in shapes

    def test_weights_are_the_first_of_the_widest(self):
        slimmable = tfc.dynamic.Slimmable(scattered(dense()), widths=[0.5, 1.0])
        whole, half = slimmable.network, slimmable.at(0.5)
        np.testing.assert_array_equal(
            half.get_layer("a").kernel, whole.get_layer("a").kernel[:, :4]
        )
        np.testing.assert_array_equal(
            half.get_layer("b").kernel, whole.get_layer("b").kernel[:4]
        )

    def test_round_to(self):
        slimmable = tfc.dynamic.Slimmable(dense(), widths=[0.3, 1.0], round_to=4)
        assert slimmable.at(0.3).get_layer("a").units == 4

    def test_what_is_returned_is_not_trained_along(self):
        slimmable = tfc.dynamic.Slimmable(dense(), widths=[0.5, 1.0])
        half = slimmable.at(0.5)
        before = half.get_layer("a").kernel.numpy()
        _trained(slimmable, RNG.normal(size=(8, 6)), RNG.integers(0, 3, 8))
        np.testing.assert_array_equal(half.get_layer("a").kernel, before)


def _trained(slimmable, x=X, y=Y, rate=0.1, epochs=1):
    slimmable.compile(
        keras.optimizers.SGD(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    slimmable.fit(x, y, batch_size=len(x), epochs=epochs, verbose=0)
    return slimmable


class TestTraining:
    @pytest.mark.parametrize("distillation", ["kl", None])
    def test_one_step_by_hand(self, distillation):
        slimmable = tfc.dynamic.Slimmable(
            scattered(dense()),
            widths=[0.5, 1.0],
            distillation=distillation and {"kl": {"temperature": 1.0}},
        )
        x = RNG.normal(size=(16, 6)).astype("float32")
        y = RNG.integers(0, 3, 16)
        weights = [tf.Variable(w.numpy()) for w in slimmable.network.weights]
        with tf.GradientTape() as tape:
            w1, b1, w2, b2 = weights
            wide = tf.nn.relu(x @ w1 + b1) @ w2 + b2
            half = tf.nn.relu(x @ w1[:, :4] + b1[:4]) @ w2[:4] + b2
            task = tf.nn.sparse_softmax_cross_entropy_with_logits
            if distillation:
                target = tf.nn.softmax(tf.stop_gradient(wide))
                second = tf.nn.softmax_cross_entropy_with_logits(target, half)
            else:
                second = task(y, half)
            loss = tf.reduce_mean(task(y, wide)) + tf.reduce_mean(second)
        gradients = tape.gradient(loss, weights)
        _trained(slimmable, x, y)
        for before, step, after in zip(
            weights, gradients, slimmable.network.weights, strict=True
        ):
            np.testing.assert_allclose(after, before - 0.1 * step, atol=1e-5)

    def test_weights_of_samples_count_for_all_widths(self):
        slimmable = tfc.dynamic.Slimmable(scattered(dense()), widths=[0.5, 1.0])
        slimmable.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
        x, y = RNG.normal(size=(8, 6)), RNG.integers(0, 3, 8)
        weights = np.float32([2, 2, 2, 2, 0, 0, 0, 0])

        def loss(x, y, weights=None):
            return float(slimmable.compute_loss(x, y, slimmable(x), weights))

        assert loss(x, y, weights) == pytest.approx(loss(x[:4], y[:4]), rel=1e-5)

    def test_each_width_has_statistics_of_its_own(self):
        slimmable = tfc.dynamic.Slimmable(residual(), widths=[0.5, 1.0])
        before = [norm.moving_mean.numpy() for norm in slimmable.norms]
        _trained(slimmable)
        changed = [
            not np.array_equal(norm.moving_mean, old)
            for norm, old in zip(slimmable.norms, before, strict=True)
        ]
        assert changed == [True, True]
        half = slimmable.at(0.5).get_layer("a_norm")
        whole = slimmable.network.get_layer("a_norm")
        # The first convolution sees the same images at any width.
        np.testing.assert_allclose(half.moving_mean, whole.moving_mean[:4], atol=1e-5)

    def test_a_sandwich_trains_the_ends_and_two_others(self):
        tf.config.run_functions_eagerly(False)
        model = keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(8),
                layers.BatchNormalization(),
                layers.Dense(3),
            ]
        )
        widths = [0.125, 0.25, 0.375, 0.5, 0.75, 1.0]
        slimmable = tfc.dynamic.Slimmable(model, widths, per_step="sandwich")
        before = [norm.moving_mean.numpy() for norm in slimmable.norms]
        _trained(slimmable, RNG.normal(size=(16, 6)), RNG.integers(0, 3, 16))
        changed = [
            not np.array_equal(norm.moving_mean, old)
            for norm, old in zip(slimmable.norms, before, strict=True)
        ]
        assert changed[0]
        assert sum(changed) == 3

    def test_all_widths_learn(self):
        tf.config.run_functions_eagerly(False)
        keras.utils.set_random_seed(0)
        x = RNG.normal(size=(256, 6)).astype("float32")
        y = (x @ RNG.normal(size=(6, 3))).argmax(-1)
        slimmable = tfc.dynamic.Slimmable(dense(), widths=[0.5, 0.75, 1.0])
        _trained(slimmable, x, y, rate=0.5, epochs=100)
        for width in slimmable.widths:
            answers = slimmable.at(width).predict(x, verbose=0).argmax(-1)
            assert np.mean(answers == y) > 0.9, width

    @pytest.mark.parametrize("batch_norm", ["own", "shared"])
    def test_saving(self, tmp_path, batch_norm):
        slimmable = _trained(
            tfc.dynamic.Slimmable(residual(), [0.5, 1.0], batch_norm=batch_norm)
        )
        slimmable.save(tmp_path / "slimmable.keras")
        restored = keras.models.load_model(tmp_path / "slimmable.keras")
        for width in (0.5, 1.0):
            outputs = [
                model.at(width, [X]).predict(X, verbose=0)
                for model in (slimmable, restored)
            ]
            np.testing.assert_array_equal(*outputs)


class TestUniversal:
    def test_statistics_are_measured_for_any_width(self):
        slimmable = tfc.dynamic.Slimmable(
            scattered(residual()), [0.25, 1.0], batch_norm="shared"
        )
        assert not slimmable.norms
        small = slimmable.at(0.6, [X])
        inputs = keras.Model(small.input, small.get_layer("a").output)
        np.testing.assert_allclose(
            small.get_layer("a_norm").moving_mean,
            inputs.predict(X, verbose=0).mean((0, 1, 2)),
            atol=1e-4,
        )
        np.testing.assert_array_equal(
            small.get_layer("a_norm").gamma,
            slimmable.network.get_layer("a_norm").gamma[:5],
        )

    def test_without_data(self):
        slimmable = tfc.dynamic.Slimmable(residual(), [0.25, 1.0], batch_norm="shared")
        with pytest.raises(ValueError, match="needs data"):
            slimmable.at(0.25)


class TestBadInput:
    @pytest.mark.parametrize(
        ("widths", "message"),
        [
            ([0.5, 0.9], "expected 1, the whole network"),
            ([0.5, 0.51, 1.0], "keep the same channels"),
            ([0.0, 1.0], "a fraction of the channels"),
            ([0.5, 1.5], "a fraction of the channels"),
            ([1.0], "widths"),
        ],
    )
    def test_widths(self, widths, message):
        with pytest.raises(ValueError, match=message):
            tfc.dynamic.Slimmable(dense(), widths)

    def test_nothing_to_cut(self):
        model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
        with pytest.raises(ValueError, match="no channels"):
            tfc.dynamic.Slimmable(model)

    def test_a_width_that_was_not_trained(self):
        with pytest.raises(ValueError, match=r"expected one of \[0.5, 1.0\]"):
            tfc.dynamic.Slimmable(dense(), [0.5, 1.0]).at(0.7)
