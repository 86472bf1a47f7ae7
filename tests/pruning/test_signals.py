"""Signals of weights, compared with numbers worked out by hand and with gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.core.collect import collect
from tfcompress.core.compressed import Treatment, treatments
from tfcompress.core.nouns import Signal
from tfcompress.core.walk import weight_refs
from tfcompress.pruning.prune import masked_weights

L = keras.layers

pytestmark = pytest.mark.usefixtures("uncompiled")

# The others are measured separately.
STREAMED = {name for name, cls in Signal.registered.items() if cls.observes}


def plain(model):
    return [Treatment(ref, []) for ref in weight_refs(model)]


def signals_of(model, data, *needs, **kwargs):
    """`{path: Signals}`, of a compressed or a plain model."""
    weights = masked_weights(model) or plain(model)
    found = collect(model, weights, data, needs, **kwargs)
    return {signals.ref.path: signals for signals in found}


def linear(kernel, activation=None, **kwargs):
    layer = L.Dense(np.shape(kernel)[1], activation, use_bias=False, name="d", **kwargs)
    model = keras.Sequential([keras.Input(np.shape(kernel)[:1]), layer])
    layer.kernel.assign(kernel)
    model.compile("sgd", "mse")
    return model


X = np.array([[1.0, 2.0], [3.0, -1.0]], "float32")


def test_activations_by_hand():
    # Outputs are [1, 0], [3, 0], and [2, 0], [0, 0] in the other batch.
    model = linear([[1.0, -1.0], [0.0, 0.0]], "relu")
    data = [X, np.array([[2.0, 5.0], [-4.0, 1.0], [-1.0, 0.0]], "float32")]
    found = signals_of(
        model, data, "activation_mean", "activation_deviation", "activation_zeros"
    )["d/kernel"]
    np.testing.assert_allclose(found["activation_mean"], [6 / 5, 5 / 5])
    first, second = [1, 3, 2, 0, 0], [0, 0, 0, 4, 1]
    np.testing.assert_allclose(
        found["activation_deviation"], [np.std(first), np.std(second)]
    )
    np.testing.assert_allclose(found["activation_zeros"], [2 / 5, 3 / 5])


def test_the_effect_of_feature_maps_by_hand():
    model = linear([[1.0, 0.0], [0.0, 2.0]])
    # Outputs [1, 4] and [3, -2]; for each sample L = mean of the squares, dL/da = a.
    found = signals_of(model, [(X, np.zeros((2, 2)))], "activation_gradient")
    np.testing.assert_allclose(
        found["d/kernel"]["activation_gradient"], [(1 + 9) / 2, (16 + 4) / 2]
    )


def test_effects_cancel_within_a_map_but_not_between_samples():
    x = keras.Input((2, 1))
    y = L.Dense(1, use_bias=False, name="d")(x)
    model = keras.Model(x, L.Reshape((2,))(y))
    model.get_layer("d").kernel.assign([[1.0]])
    model.compile("sgd", lambda y, p: tf.reduce_mean(y * p, axis=-1))
    images = np.array([[[1.0], [2.0]], [[3.0], [1.0]]], "float32")
    labels = np.array([[2.0, -1.0], [1.0, 1.0]], "float32")
    # a dL/da = [1, -1] in the first sample, [1.5, 0.5] in the second.
    found = signals_of(model, [(images, labels)], "activation_gradient")
    np.testing.assert_allclose(found["d/kernel"]["activation_gradient"], [0.5])


def test_input_moments_of_rows_and_of_patches():
    model = linear([[1.0], [1.0]])
    found = signals_of(model, [X, 2 * X], "input_moments")["d/kernel"]
    moments = (X.T @ X + 4 * X.T @ X) / 4
    np.testing.assert_allclose(found["input_moments"], moments[None])
    assert found["input_moments"].dtype == np.float64

    conv = L.Conv2D(1, 2, name="c")
    model = keras.Sequential([keras.Input((2, 3, 1)), conv])
    image = np.arange(6.0, dtype="float32").reshape(1, 2, 3, 1)
    patches = np.array([[0, 1, 3, 4], [1, 2, 4, 5]])
    weights = [w for w in plain(model) if w.ref.is_kernel]
    (found,) = collect(model, weights, [image], ["input_moments"])
    np.testing.assert_allclose(found["input_moments"], [patches.T @ patches / 2])


def test_the_diagonal_of_a_diagonal_hessian_is_exact():
    model = linear([[3.0], [2.0]])
    data = [(np.array([[2.0, 0.0], [0.0, 4.0]], "float32"), np.zeros((2, 1)))]
    # L = (4 w1² + 16 w2²) / 2, and v H v = H where H is diagonal.
    found = signals_of(model, data, "hessian_diagonal")["d/kernel"]
    np.testing.assert_allclose(found["hessian_diagonal"], [[4.0], [16.0]])


def test_the_trace_of_a_full_hessian():
    model = linear([[3.0], [2.0], [1.0]])
    generator = np.random.default_rng(0)
    x = generator.normal(size=(64, 3)).astype("float32")
    data = [(x, np.zeros((64, 1), "float32"))] * 100
    found = signals_of(model, data, "hessian_diagonal")["d/kernel"]
    np.testing.assert_allclose(
        found["hessian_diagonal"].ravel(), 2 * np.mean(x**2, axis=0), rtol=0.1
    )


def squares_one_by_one(model, x, y):
    """`E_n[(dL_n/dw)²]` of all weights, one sample at a time."""
    totals = [0.0] * len(model.trainable_variables)
    for image, label in zip(x, y, strict=True):
        with tf.GradientTape() as tape:
            loss = model.compute_loss(
                image[None], label[None], model(image[None], training=False)
            )
        found = tape.gradient(loss, [v.value for v in model.trainable_variables])
        totals = [
            total + np.square(tf.convert_to_tensor(g)) / len(x)
            for total, g in zip(totals, found, strict=True)
        ]
    return {
        id(v): total for v, total in zip(model.trainable_variables, totals, strict=True)
    }


def convolutions():
    x = keras.Input((5, 5, 2))
    y = L.Conv2D(4, 2, activation="relu", name="conv")(x)
    shared = L.Conv2D(4, 2, padding="same", activation="tanh", name="shared")
    y = L.DepthwiseConv2D(2, name="depthwise")(shared(shared(y)))
    y = L.Conv2DTranspose(3, 2, name="transposed")(y)
    return keras.Model(x, L.Dense(5, name="head")(L.GlobalMaxPooling2D()(y)))


def recurrent():
    x = keras.Input((4, 3))
    y = L.LSTM(3, return_sequences=True, name="lstm")(x)
    y = L.MultiHeadAttention(1, 2, name="attention")(y, y)
    return keras.Model(x, L.Dense(5, name="head")(L.GlobalAveragePooling1D()(y)))


@pytest.mark.parametrize(
    "build",
    [models.small, models.nested, convolutions, recurrent, models.subclassed],
    ids=lambda build: build.__name__,
)
def test_squared_gradients_of_samples(build):
    model = models.compile(build())
    x, y = models.inputs(model, 6), models.classes(6)
    weights = [w for w in plain(model) if w.ref.variable.trainable]
    # The last batch is smaller.
    data = [(x[:4], y[:4]), (x[4:], y[4:])]
    found = collect(model, weights, data, ["squared_gradient", "gradient"])
    expected = squares_one_by_one(model, x, y)
    for weight, signals in zip(weights, found, strict=True):
        squares = weight.ref.layout.from_canonical(signals["squared_gradient"])
        np.testing.assert_allclose(
            squares, expected[id(weight.ref.variable)], rtol=1e-3, atol=1e-7,
            err_msg=weight.ref.path,
        )  # fmt: skip
        # They are not the square of the mean.
        assert np.all(signals["squared_gradient"] >= 0)


def test_squared_gradients_behind_a_treated_bias():
    model = tfc.compress(models.small(), {".*": "mask", "hidden/bias": "mask"})
    ((_, kernel), (_, bias), _) = treatments(model)
    bias.variable.assign([5.0, -5.0, 5.0, -5.0, 0.0, 0.0])
    bias.transforms[0].mask.assign([False] * 4 + [True] * 2)
    models.compile(model)
    x, y = models.inputs(model, 6), models.classes(6)
    (found,) = collect(model, [kernel], [(x, y)], ["squared_gradient"])
    expected = squares_one_by_one(model, x, y)[id(kernel.variable)]
    np.testing.assert_allclose(found["squared_gradient"], expected, rtol=1e-4)


def test_gates_of_a_recurrent_unit_share_its_number():
    model = models.compile(models.recurrent())
    data = [(models.inputs(model, 4), models.classes(4))]
    weights = [w for w in plain(model) if w.ref.path.startswith("lstm/")]
    found = collect(model, weights, data, ["activation_mean", "activation_gradient"])
    for weight, signals in zip(weights, found, strict=True):
        shape = weight.ref.layout.canonical_shape
        scores = np.broadcast_to(signals["activation_mean"], shape)
        if weight.ref.is_kernel:
            np.testing.assert_array_equal(scores[:, :5], scores[:, 15:])


def test_masked_weights_are_measured_like_plain_ones():
    model = models.compile(models.nested())
    masked = models.compile(tfc.compress(model, {".*": "mask"}))
    data = [(models.inputs(model, 4), models.classes(4))]
    needs = ("gradient", "activation_mean", "squared_gradient")
    found, expected = (signals_of(m, data, *needs) for m in (masked, model))
    # The shared layers are called twice.
    assert set(found) == {"shared/kernel", "inner/inside/kernel", "head/kernel"}
    for path, signals in found.items():
        for name in needs:
            np.testing.assert_allclose(signals[name], expected[path][name], rtol=1e-5)


def test_all_signals_take_one_pass():
    model = models.compile(models.small())
    passes = []

    class Data:
        def __iter__(self):
            passes.append(0)
            for _ in range(5):
                passes[-1] += 1
                yield models.inputs(model, 4), models.classes(4)

    names = STREAMED
    weights = [w for w in plain(model) if w.ref.is_kernel]
    collect(model, weights, Data(), names, batches=3)
    assert len(passes) == 1
    assert passes[0] <= 4


def test_data_of_any_size_take_no_more_memory():
    # The number of traces shows what is kept.
    tf.config.run_functions_eagerly(False)
    model = models.compile(models.small())
    calls = []
    update = tfc.signals.Gradient.update

    class Counting(tfc.signals.Gradient):
        def update(self, seen):
            calls.append(1)
            return update(self, seen)

    def data():
        for _ in range(20):
            yield models.inputs(model, 4), models.classes(4)

    collect(model, plain(model), data(), [Counting()])
    # The graph is traced once for all batches.
    assert len(calls) == len(plain(model))


def test_what_is_not_seen_from_outside_is_named():
    model = models.residual()
    weights = [w for w in plain(model) if "depthwise" in w.ref.path]
    with pytest.raises(ValueError, match=r"separable/depthwise_kernel.*Split"):
        collect(model, weights, [models.inputs(model)], ["activation_mean"])
    model = models.recurrent()
    weights = [w for w in plain(model) if w.ref.path.startswith("lstm/")]
    with pytest.raises(ValueError, match=r"lstm/lstm_cell/kernel.*LSTM"):
        collect(model, weights, [models.inputs(model)], ["input_moments"])


@pytest.mark.parametrize("batches", [0, 1.5])
def test_batches_out_of_range(batches):
    model = models.compile(models.small())
    data = [(models.inputs(model), models.classes())]
    with pytest.raises(ValueError, match="batches"):
        collect(model, plain(model), data, ["gradient"], batches=batches)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_is_measured_like_single(policy):
    x = np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype("float32")
    y = np.array([0, 1, 2, 0])
    found = []
    for dtype in ("float32", policy):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((6, 6, 2)),
                L.Conv2D(4, 3, activation="relu", name="c", dtype=dtype),
                L.Flatten(),
                L.Dense(5, activation="tanh", name="d", dtype=dtype),
                L.Dense(3, activation="softmax", name="e"),
            ]
        )
        model.compile("sgd", "sparse_categorical_crossentropy")
        needs = STREAMED - {"hessian_diagonal", "input_moments", "input_norm"}
        # Curvature is based on random signs; moments are those of half-precision values.
        found.append(signals_of(model, [(x, y)], *needs))
    for path in ("c/kernel", "d/kernel"):
        for name, value in found[0][path].items():
            largest = np.abs(value).max()
            np.testing.assert_allclose(
                found[1][path][name], value, atol=0.05 * largest, err_msg=name
            )


def test_sums_of_half_precision_do_not_overflow():
    model = linear([[300.0], [0.0]], dtype="mixed_float16")
    found = signals_of(model, [np.ones((1000, 2), "float32")], "activation_mean")
    np.testing.assert_allclose(found["d/kernel"]["activation_mean"], [300.0])


@pytest.mark.parametrize("name", sorted(Signal.registered.keys() - STREAMED))
def test_a_signal_keeps_nothing_of_the_model_before(name):
    tf.config.run_functions_eagerly(False)
    signal, x = tfc.signals.get(name), np.ones((4, 8), "float32")
    found = []
    for scale in (0.1, 0.2):
        model = models.compile(normalised(scale), run_eagerly=True)
        model.fit(x, models.classes(4, 3), verbose=0)
        of_first = [plain(model)[0]], [(x, models.classes(4, 3))]
        (again,), (once,) = (collect(model, *of_first, [s]) for s in (signal, name))
        np.testing.assert_array_equal(*(next(iter(s.values())) for s in (again, once)))
        found.append(next(iter(again.values())))
    # How often a weight is used does not depend on its value.
    assert (np.not_equal(*found).any()) == (name != "positions")


def normalised(scale):
    layers = [L.Dense(6, name="d"), L.BatchNormalization(), L.ReLU(), L.Dense(3)]
    model = keras.Sequential([keras.Input((8,)), *layers])
    for weight in model.trainable_weights:
        values = np.random.default_rng(0).random(weight.shape)
        weight.assign(scale * values)
    return model
