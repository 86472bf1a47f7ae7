import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.core.compressed import treatments
from tfcompress.regularizers import L1, GroupLasso, SmoothedL12

L = keras.layers


def value_and_gradient(regularizer, weight):
    weight = tf.constant(weight, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(weight)
        value = regularizer(weight)
    return float(value), tape.gradient(value, weight).numpy()


def test_l1_by_hand():
    value, gradient = value_and_gradient(L1(0.5), [3.0, -1.0, 0.0])
    assert value == 2.0
    np.testing.assert_array_equal(gradient, [0.5, -0.5, 0.0])


def test_smoothed_l12_by_its_closed_form():
    epsilon = 0.1
    w = np.array([-4.0, 0.25, 0.1, 0.05, -0.02, 0.0])
    inner = -(w**4) / (8 * epsilon**3) + 3 * w**2 / (4 * epsilon) + 3 * epsilon / 8
    slope = -(w**3) / (2 * epsilon**3) + 3 * w / (2 * epsilon)
    is_inner = np.abs(w) < epsilon
    f = np.where(is_inner, inner, np.abs(w))
    slope = np.where(is_inner, slope, np.sign(w))
    value, gradient = value_and_gradient(SmoothedL12(2.0, epsilon), w)
    assert value == pytest.approx(2 * np.sqrt(f).sum())
    np.testing.assert_allclose(gradient, slope / np.sqrt(f), rtol=1e-12)
    # 2, 0.5 and sqrt(0.1) for those beyond ε; half the root of the slope at 4 is 1/4.
    assert np.sqrt(f)[:3] == pytest.approx([2.0, 0.5, 0.1**0.5])
    assert gradient[0] == -0.5


def test_smoothed_l12_of_large_weights_is_finite():
    value, gradient = value_and_gradient(SmoothedL12(1.0, 1e-12), [1e12, 0.0])
    assert value == pytest.approx(1e6)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("groups", "axes"),
    [
        ("filters", (0, 1, 2)),
        ("channels", (0, 1, 3)),
        ("shapes", (3,)),
        ("layer", (0, 1, 2, 3)),
        ((0, 3), (1, 2)),
    ],
)
def test_group_lasso_by_its_closed_form(groups, axes):
    w = np.random.default_rng(0).normal(size=(3, 2, 4, 5))
    w[..., 1, :], w[..., 2] = 0, 0
    squares = np.square(w).sum(axes, keepdims=True)
    size = w.size / squares.size
    norms = np.sqrt(squares)
    value, gradient = value_and_gradient(GroupLasso(0.1, groups), w)
    assert value == pytest.approx(0.1 * np.sqrt(size) * norms.sum(), rel=1e-6)
    expected = 0.1 * np.sqrt(size) * w / np.where(norms > 0, norms, 1)
    np.testing.assert_allclose(gradient, expected, atol=1e-7)


def test_group_lasso_of_zeros_has_a_gradient_of_zero():
    value, gradient = value_and_gradient(GroupLasso(1.0), np.zeros((4, 3)))
    assert value < 1e-7
    np.testing.assert_array_equal(gradient, np.zeros((4, 3)))


@pytest.mark.parametrize("regularizer", [L1(0.7), SmoothedL12(0.7, 1e-9)], ids=repr)
def test_proximal_steps_of_single_weights_are_the_minimum_on_a_grid(regularizer):
    weights = np.array([-3.0, -1.2, -0.5, 0.0, 0.3, 0.74, 0.76, 0.9, 2.0])
    grid = np.linspace(-4, 4, 80001)
    penalty = 0.7 * (np.abs(grid) if isinstance(regularizer, L1) else abs(grid) ** 0.5)
    costs = (grid - weights[:, None]) ** 2 / 2 + 0.5 * penalty
    steps = regularizer.proximal(tf.constant(weights), 0.5)
    np.testing.assert_allclose(steps, grid[costs.argmin(1)], atol=2e-4)
    assert (steps.numpy()[3:5] == 0).all()


def test_proximal_step_of_groups_shrinks_or_empties_them():
    # sqrt(2) times the strength against norms of 5 and 1.
    w = tf.constant([[3.0, 0.6], [4.0, 0.8]])
    steps = GroupLasso(2**0.5).proximal(w, 1.0)
    np.testing.assert_allclose(steps, [[1.8, 0.0], [2.4, 0.0]], atol=1e-6)


def layouts():
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            L.Conv2D(4, 3, name="conv"),
            L.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise"),
            L.Conv2DTranspose(5, 2, name="transposed"),
            L.Flatten(),
            L.Dense(2, name="dense"),
        ]
    )


def test_penalty_knows_filters_of_every_layer():
    model = layouts()
    penalized = tfc.compress(
        model, {".*": tfc.transforms.Penalty(GroupLasso(1.0, "filters"))}
    )
    for path, treatment in treatments(penalized):
        canonical = treatment.ref.layout.to_canonical(treatment.variable.numpy())
        filters = canonical.reshape(-1, canonical.shape[-1])
        expected = np.sqrt(len(filters)) * np.linalg.norm(filters, axis=0).sum()
        assert float(treatment.penalties()[0]) == pytest.approx(expected, rel=1e-5), (
            path
        )
    assert len(penalized.losses) == 4


def test_penalty_knows_channels_of_every_layer_that_has_some():
    rules = {"conv|transposed": tfc.transforms.Penalty(GroupLasso(1.0, "channels"))}
    (_, conv), (_, transposed) = treatments(tfc.compress(layouts(), rules))
    for treatment, axes in ((conv, (0, 1, 3)), (transposed, (0, 1, 2))):
        w = treatment.variable.numpy()
        size = w.size / treatment.variable.shape[({0, 1, 2, 3} - {*axes}).pop()]
        expected = np.sqrt(size) * np.sqrt(np.square(w).sum(axes)).sum()
        assert float(treatment.penalties()[0]) == pytest.approx(expected, rel=1e-5)


def test_penalty_adds_to_regularizers_composes_with_masks_and_comes_off():
    layer = L.Dense(3, kernel_regularizer=keras.regularizers.L2(0.5))
    model = keras.Sequential([keras.Input((2,)), layer])
    layer.kernel.assign([[1.0, 0.0, 2.0], [0.0, -1.0, 0.0]])
    penalized = tfc.compress(
        model, {".*": ["mask", {"penalty": {"regularizer": "l1"}}]}
    )
    # 0.5 (1 + 4 + 1) from the layer's own, 1e-4 (1 + 2 + 1) from the penalty.
    assert float(sum(penalized.losses)) == pytest.approx(3.0004)
    assert float(sum(tfc.strip(penalized).losses)) == pytest.approx(3.0)


def test_a_layer_with_a_regularizer_is_saved_with_it(tmp_path):
    regularizer = GroupLasso(0.1, (-1,))
    model = keras.Sequential(
        [keras.Input((2,)), L.Dense(3, kernel_regularizer=regularizer)]
    )
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    assert restored.layers[0].kernel_regularizer == regularizer
    np.testing.assert_allclose(restored.losses[0], model.losses[0])
    # Criteria with the same name are different objects.
    assert isinstance(tfc.criteria.get("l1"), tfc.criteria.L1)
    config = keras.saving.serialize_keras_object(tfc.criteria.L1())
    assert isinstance(keras.saving.deserialize_keras_object(config), tfc.criteria.L1)


def test_a_residual_block_whose_layer_is_zero_shrinks_to_one_channel():
    x = keras.Input((4, 4, 3))
    y = L.Conv2D(6, 3, padding="same", name="inside")(x)
    y = L.Conv2D(3, 3, padding="same", use_bias=False, name="last")(L.ReLU()(y))
    model = keras.Model(x, L.Add()([x, y]))
    last = model.get_layer("last").kernel
    last.assign(GroupLasso(100.0, "layer").proximal(last.value, 1.0))
    small = tfc.shrink(model)
    assert small.get_layer("inside").filters == 1
    inputs = models.inputs(model)
    np.testing.assert_array_equal(small(inputs), inputs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: GroupLasso(1.0, "rows"),
            r"GroupLasso\(groups\): got 'rows', expected",
        ),
        (lambda: L1(-1), r"L1\(strength\): got -1, expected a number of at least 0"),
        (
            lambda: GroupLasso()(tf.zeros(3)),
            r"weight of shape \(3,\), which has no such",
        ),
        (lambda: GroupLasso(1.0, (4,))(tf.zeros((2, 2))), r"weight of shape \(2, 2\)"),
        (
            lambda: tfc.transforms.Penalty(0.1),
            r"Penalty\(regularizer\): got 0.1, exp",
        ),
        (
            lambda: tfc.compress(
                layouts(),
                {"depthwise": tfc.transforms.Penalty(GroupLasso(1, "channels"))},
            ),
            "a depthwise kernel has no input channels",
        ),
        (
            lambda: tfc.compress(layouts(), {".*/gamma": tfc.transforms.Penalty("l1")}),
            r"'.\*/gamma' matches no weight",
        ),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
