import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.callbacks import (
    GroupNormRegularization,
    GrowingRegularization,
    LearningCompression,
    ProximalStep,
    SelectiveWeightDecay,
)
from tfcompress.regularizers import L1, GroupLasso

L = keras.layers
SGD = keras.optimizers.SGD


def dense(kernel, optimizer=None, **kwargs):
    """A dense layer without bias, compiled."""
    kernel = np.asarray(kernel, "float32")
    layer = L.Dense(kernel.shape[1], use_bias=False, name="dense")
    model = keras.Sequential([keras.Input(kernel.shape[:1]), layer])
    layer.kernel.assign(kernel)
    model.compile(optimizer or SGD(0.5), "mse", **kwargs)
    return model


def fit(model, steps, *callbacks, epochs=1):
    """Steps without a gradient."""
    x = np.zeros((steps, *model.input_shape[1:]))
    y = np.zeros((steps, *model.output_shape[1:]))
    model.fit(x, y, 1, epochs=epochs, verbose=0, callbacks=list(callbacks))
    return model.layers[0].kernel.numpy()


@pytest.mark.parametrize(
    ("optimizer", "kwargs"),
    [
        (SGD(0.5, momentum=0.9), {"steps_per_execution": 4}),
        (keras.optimizers.Adam(0.5), {"jit_compile": True}),
        (SGD(0.5, gradient_accumulation_steps=2), {"run_eagerly": True}),
    ],
    ids=["momentum", "adam", "accumulated"],
)
def test_a_step_is_the_learning_rate_times_the_strength(optimizer, kwargs):
    model = dense([[4.0, -1.0]], optimizer, **kwargs)
    proximal = ProximalStep({".*": L1(0.8)})
    steps = 4 * (optimizer.gradient_accumulation_steps or 1)
    np.testing.assert_allclose(fit(model, steps, proximal), [[2.4, 0.0]], rtol=1e-6)


def test_moves_are_lent_and_given_back():
    model = dense([[8.0]])
    variable = model.layers[0].kernel
    variable.constraint = at_least_one = keras.constraints.NonNeg()
    # Traced before there is a move, and after.
    assert fit(model, 1) == 8.0
    assert fit(model, 2, ProximalStep({".*": L1(2.0)})) == 6.0
    assert variable.constraint is at_least_one
    assert fit(model, 1) == 6.0
    both = [ProximalStep({".*": L1(1.0)}), ProximalStep({".*": L1(2.0)})]
    assert fit(model, 1, *both) == 4.5


def test_an_interrupted_training_leaves_no_move_behind():
    model = dense([[8.0]])

    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    proximal = ProximalStep({".*": L1(2.0)})
    with pytest.raises(KeyboardInterrupt):
        fit(model, 2, proximal, Interrupt())
    assert fit(model, 1, ProximalStep({".*": L1(2.0)})) == 6.0
    assert fit(model, 1) == 6.0


def test_groups_become_zero_together():
    kernel = np.array([[3.0, 1.0], [4.0, 0.0]])
    model = dense(kernel)
    step = ProximalStep({"dense": [GroupLasso(2**0.5), L1(0.0)]})
    np.testing.assert_allclose(fit(model, 1, step), [[2.4, 0], [3.2, 0]], rtol=1e-6)


def test_selective_decay_grows_and_spares_what_stays():
    model = dense([[4.0, 1.0], [-3.0, -2.0]])
    weights = []
    seen = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: weights.append(
            model.layers[0].kernel.numpy()
        )
    )
    decay = SelectiveWeightDecay(0.5, 2.0, 0.1, 1000.0, frequency=1)
    last = fit(model, 4, seen, decay)
    np.testing.assert_array_equal(last, [[4.0, 0.0], [-3.0, 0.0]])
    # a = 0.1 10^t, and a learning rate times weight decay of 1.
    factors = np.cumprod(1 + 0.1 * 10.0 ** np.arange(4))
    np.testing.assert_allclose([w[0, 1] for w in weights], 1 / factors, rtol=1e-5)
    np.testing.assert_allclose([w[1, 1] for w in weights], -2 / factors, rtol=1e-5)


def test_selective_decay_follows_weights_that_change_places_and_sets_masks():
    model = tfc.compress(dense([[2.0, 1.0]]), {".*": "mask"})
    model.compile(SGD(0.25), "mse")
    x, y = np.ones((40, 1)), np.tile([[1.0, 3.0]], (40, 1))
    decay = SelectiveWeightDecay(0.5, 0.01, frequency=1)
    model.fit(x, y, 1, verbose=0, callbacks=[decay])
    (kernel,) = tfc.strip(model).get_weights()
    np.testing.assert_allclose(kernel, [[0.0, 3.0]], atol=1e-3)
    assert model.layers[0].treatments[0].transforms[0].mask.numpy().tolist() == [
        [False, True]
    ]


def residual():
    """Two coupled layers, a batch norm, and something to cut inside."""
    x = keras.Input((4, 4, 3))
    y = L.Conv2D(4, 3, padding="same", name="stem")(x)
    z = L.Conv2D(6, 3, padding="same", use_bias=False, name="inside")(y)
    z = L.ReLU()(L.BatchNormalization(name="norm")(z))
    y = L.Add()([y, L.Conv2D(4, 1, name="back")(z)])
    return keras.Model(x, L.Dense(2, name="head")(L.GlobalAveragePooling2D()(y)))


def test_growing_regularization_lets_chosen_units_fade_and_shrink_takes_them():
    model = residual()
    model.compile(SGD(0.1), "mse")
    x = models.inputs(model, 32)
    growing = GrowingRegularization(
        0.5, growth=0.5, frequency=2, ceiling=2.0, ignore=["stem"]
    )
    kernel = model.get_layer("inside").kernel
    scores = np.square(kernel.numpy()).sum((0, 1, 2))
    going = np.argsort(scores)[:3]
    faded = []
    seen = keras.callbacks.LambdaCallback(
        on_train_end=lambda logs: faded.append(kernel.numpy())
    )
    model.fit(x, np.zeros((32, 2)), 2, epochs=2, verbose=0, callbacks=[seen, growing])
    # Half of 32 steps of 0.1 x 2 alone leave a twentieth.
    assert np.abs(faded[0][..., going]).max() < 0.05 * np.abs(faded[0]).max()
    small = tfc.shrink(model)
    assert small.get_layer("inside").filters == 3
    assert small.get_layer("stem").filters == 4
    assert models.difference(model, small, x) <= 1e-5


def test_growing_regularization_follows_its_formula_and_a_budget():
    growing = GrowingRegularization(
        target_macs=0.5, growth=1e-2, frequency=5, ceiling=0.025
    )
    assert [float(growing._factor(step)) for step in (0, 4, 5, 10, 15, 99)] == (
        pytest.approx([0, 0, 0.01, 0.02, 0.025, 0.025])
    )
    model = residual()
    model.compile(SGD(0.1), "mse")
    before = tfc.report(model).macs
    x = models.inputs(model, 4)
    model.fit(x, np.zeros((4, 2)), verbose=0, callbacks=[growing])
    assert tfc.report(tfc.shrink(model)).macs <= 0.5 * before


def test_a_weight_between_two_units_decays_for_both():
    model = keras.Sequential([keras.Input((1,)), L.Dense(2), L.Dense(2), L.Dense(1)])
    models.set_weights(
        model,
        [[[1.0, 2.0]], [0.5, 0.5], [[1, 2], [3, 4]], [1.0, 1.0], [[1], [1]], [0.0]],
    )
    model.compile(SGD(1.0), "mse")
    decay = GrowingRegularization(0.5)
    decay.set_model(model)
    keep = np.ones(decay._graph.num_units, bool)
    for group in decay._groups:
        keep[group.units[0]] = False
    decay._assign(~keep)
    (share,) = [one for one in decay._shares.values() if tuple(one.shape) == (2, 2)]
    np.testing.assert_array_equal(share, [[2.0, 1.0], [1.0, 0.0]])


def test_group_norms_set_units_of_a_group_apart():
    model = residual()
    model.compile(SGD(0.1), "mse")
    kernel, back = (model.get_layer(n).kernel for n in ("inside", "back"))
    kernel.assign(kernel * np.array([1, 1, 1, 0.1, 0.1, 0.1]))
    back.assign(back * np.reshape([1, 1, 1, 0.1, 0.1, 0.1], (1, 1, 6, 1)))
    sparse = GroupNormRegularization(0.5, frequency=4, ignore=["stem"])
    before = np.linalg.norm(kernel.numpy(), axis=(0, 1)).sum(0)
    x = models.inputs(model, 16)
    model.fit(x, np.zeros((16, 2)), 1, verbose=0, callbacks=[sparse])
    left = np.linalg.norm(kernel.numpy(), axis=(0, 1)).sum(0) / before
    assert left[3:].max() < 0.1 * left[:3].max()


def quadratic(start, scales, targets):
    """`mean (d_i (w_i - b_i))²`, with 200 steps on all of it in an epoch."""
    model = dense(np.reshape(start, (-1, 1)), SGD(0.5))
    x = np.diag(scales)
    y = x @ np.reshape(targets, (-1, 1))
    return model, np.tile(x, (200, 1)), np.tile(y, (200, 1))


def learned(rule, start, scales, targets, epochs=4, **options):
    model, x, y = quadratic(start, scales, targets)
    lc = LearningCompression({".*": rule}, frequency=20, growth=1.1, **options)
    history = model.fit(
        x, y, len(scales), epochs, verbose=0, shuffle=False, callbacks=[lc]
    )
    return model.layers[0].kernel.numpy().ravel(), history.history["distance"]


def test_learning_compression_finds_the_weight_that_matters_not_the_largest():
    # Keeping the first costs 0.9² in the second; keeping the second costs 0.3².
    found, distances = learned(0.5, [1.0, 0.9], [0.3, 1.0], [1.0, 0.9], strength=0.05)
    np.testing.assert_allclose(found, [0.0, 0.9], atol=1e-3)
    assert distances[-1] < 0.01 < distances[0]


def test_learning_compression_finds_the_codebook_of_the_loss():
    # Means weighted by d²: (1 + 3 x 1.2) / 4 and (5 + 5.4) / 2; k-means has 1.1.
    scales = np.sqrt([1.0, 3.0, 1.0, 1.0])
    targets = [1.0, 1.2, 5.0, 5.4]
    codebook = tfc.transforms.Codebook(2, "optimal")
    found, _ = learned(codebook, targets, scales, targets, strength=0.1)
    np.testing.assert_allclose(found, [1.15, 1.15, 5.2, 5.2], atol=2e-3)
    assert len(np.unique(found)) == 2


@pytest.mark.parametrize("is_spatial", [False, True])
def test_learning_compression_leaves_a_rank_that_factorizing_finds(is_spatial):
    layer = L.Conv2D(5, 3, name="conv") if is_spatial else L.Dense(6, name="conv")
    model = keras.Sequential([keras.Input((6, 6, 4)), layer])
    model.compile(SGD(0.01), "mse")
    x = models.inputs(model, 8)
    rewrite = (tfc.rewrites.SpatialSVD if is_spatial else tfc.rewrites.SVD)(2)
    y = np.zeros((8, *model.output_shape[1:]))
    lc = LearningCompression({"conv": rewrite}, strength=10.0)
    model.fit(x, y, epochs=2, verbose=0, callbacks=[lc])
    kernel = layer.kernel.numpy()
    matrix = kernel.transpose(0, 2, 1, 3).reshape(12, 15) if is_spatial else kernel
    assert np.linalg.matrix_rank(matrix, tol=1e-5) == 2
    small = tfc.factorize(model, rewrite, verbose=0)
    assert models.difference(model, small, x) <= 1e-5


def test_learning_compression_keeps_patterns():
    kernel = np.arange(1.0, 9.0).reshape(2, 4)
    model = dense(kernel)
    lc = LearningCompression(
        {".*": 0.5}, pattern={"block": {"inputs": 1, "outputs": 2}}
    )
    found = fit(model, 1, lc)
    np.testing.assert_allclose(found, kernel * [[0], [1]], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ProximalStep({}), r"ProximalStep\(rules\): got \{\}, expected"),
        (lambda: ProximalStep({".*": "l3"}), "Unknown regularizer 'l3'"),
        (lambda: ProximalStep({"x": "l1"}), "'x' matches no weight"),
        (
            lambda: ProximalStep({"dense/bias": GroupLasso()}),
            "'dense/bias' matches no weight",
        ),
        (lambda: SelectiveWeightDecay(1.0), r"got 1.0, expected a number in \[0, 1\)"),
        (lambda: SelectiveWeightDecay(0.5, maximum=0.01), "range ends below its"),
        (lambda: SelectiveWeightDecay({"x": 0.5}), "'x' matches no weight"),
        (
            lambda: SelectiveWeightDecay(0.5, begin_step=99),
            "training ends at iteration 1",
        ),
        (lambda: GrowingRegularization(), "got 0 of ratio"),
        (lambda: GrowingRegularization(0.5), "no group of channels.*that can be cut"),
        (lambda: GroupNormRegularization(), "no group of channels.*that can be cut"),
        (lambda: LearningCompression({".*": "mask"}), "sparsity in place of a mask"),
        (lambda: LearningCompression({".*": 1.5}), r"got 1.5, expected a sparsity in"),
        (
            lambda: LearningCompression({".*": tfc.rewrites.SpatialSVD(1)}),
            "cannot factorize layer 'dense': Dense, not Conv2D",
        ),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        fit(dense([[1.0]]), 1, make())
