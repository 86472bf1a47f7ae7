"""Criteria, with numbers worked out by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress import criteria
from tfcompress.core.collect import collect
from tfcompress.core.walk import weight_refs
from tfcompress.pruning.prune import unmasked
from tfcompress.signals import Signals

L = keras.layers
EIGHT = np.array([[3.0, -1.0], [8.0, -4.0], [2.0, 7.0], [-6.0, 5.0]])


def dense(values, optimizer="sgd"):
    """A model with one kernel, whose loss is the mean of `(x·w)²`."""
    layer = L.Dense(np.shape(values)[1], use_bias=False, name="d")
    model = keras.Sequential([keras.Input((len(values),)), layer])
    layer.kernel.assign(values)
    model.compile(optimizer, "mse")
    return model


def kernels(model):
    return [unmasked(ref) for ref in weight_refs(model) if ref.is_kernel]


def test_random_depends_on_seed_name_and_step_alone():
    weight = np.ones((3, 4))
    first = criteria.Random()(weight, Signals(step=5))
    np.testing.assert_array_equal(first, criteria.Random()(weight, Signals(step=5)))
    for other in (
        criteria.Random()(weight, Signals(step=6)),
        criteria.Random(1)(weight, Signals(step=5)),
        criteria.Random()(weight, Signals(ref=weight_refs(dense(EIGHT))[0], step=5)),
    ):
        assert not np.isclose(first, other).any()


GRADIENT = np.array([[2.0], [-4.0]])
MOMENTA = {
    "sgd": (keras.optimizers.SGD(0.1, momentum=0.5), 0.1 * GRADIENT),
    "adam": (keras.optimizers.Adam(), 0.1 / np.sqrt(0.001) * np.sign(GRADIENT)),
    "adamax": (keras.optimizers.Adamax(), 0.1 * np.sign(GRADIENT)),
    "rmsprop": (
        keras.optimizers.RMSprop(0.1, momentum=0.5),
        0.1 / np.sqrt(0.1) * np.sign(GRADIENT),
    ),
    "scaled": (
        keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.1, momentum=0.5), initial_scale=1.0
        ),
        0.1 * GRADIENT,
    ),
}


@pytest.mark.parametrize(("optimizer", "expected"), MOMENTA.values(), ids=list(MOMENTA))
def test_momentum_is_what_the_optimizer_keeps(optimizer, expected):
    model = dense([[1.0], [1.0]], type(optimizer).from_config(optimizer.get_config()))
    model.optimizer.apply_gradients(
        [(np.asarray(GRADIENT, "float32"), model.layers[0].kernel)]
    )
    (signals,) = collect(model, kernels(model), None, {"momentum"})
    np.testing.assert_allclose(np.abs(signals["momentum"]), np.abs(expected), rtol=1e-3)
    assert signals.step == 1


@pytest.mark.parametrize("rules", [{}, {".*": "mask"}], ids=["plain", "masks"])
def test_the_weight_with_less_momentum_goes(rules):
    model = dense([[5.0], [1.0]])
    model = tfc.compress(model, rules) if rules else model
    model.compile(keras.optimizers.SGD(0.1, momentum=0.5), "mse")
    model.optimizer.apply_gradients(
        [(np.asarray(GRADIENT, "float32"), model.trainable_variables[0])]
    )
    small = tfc.strip(tfc.prune(model, 0.5, "momentum"))
    np.testing.assert_allclose(small.layers[0].kernel, [[0.0], [1.4]])


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adagrad"])
def test_an_optimizer_without_momentum(optimizer):
    model = dense(EIGHT, optimizer)
    model.optimizer.build(model.trainable_variables)
    with pytest.raises(
        ValueError, match=r"no momentum for weight d/kernel.*momentum=0"
    ):
        tfc.prune(model, 0.5, "momentum")


def test_gradient_keeps_where_the_loss_is_steep():
    model = dense([[9.0], [-8.0]])
    # L = (x·w)² with x = (1, 2): x·w = -7, dL/dw = (-14, -28).
    data = [(np.array([[1.0, 2.0]], "float32"), np.zeros((1, 1), "float32"))]
    small = tfc.prune(model, 0.5, "gradient", data=data)
    np.testing.assert_array_equal(small.layers[0].kernel, [[0.0], [-8.0]])


W = np.array([[1.0, -2.0], [3.0, 0.5]])
BY_HAND = {
    "activation_deviation": ({"activation_deviation": [3.0, 4.0]}, [3.0, 4.0]),
    "activation_mean": ({"activation_mean": [3.0, 4.0]}, [3.0, 4.0]),
    "apoz": ({"activation_zeros": [0.25, 1.0]}, [0.75, 0.0]),
    "batch_norm_gamma": ({"batch_norm_gamma": [-2.0, 0.5]}, [2.0, 0.5]),
    "fisher": (
        {"squared_gradient": [[1.0, 2.0], [3.0, 4.0]]},
        [[1.0, 8.0], [27.0, 1.0]],
    ),
    "gradient": ({"gradient": [[1.0, -2.0], [0.0, 4.0]]}, [[1.0, 2.0], [0.0, 4.0]]),
    "momentum": ({"momentum": [[1.0, -2.0], [0.0, 4.0]]}, [[1.0, 2.0], [0.0, 4.0]]),
    "obd": (
        {"hessian_diagonal": [[1.0, 2.0], [-3.0, 4.0]]},
        [[0.5, 4.0], [0.0, 0.5]],
    ),
    "snip": ({"gradient": [[1.0, -2.0], [0.0, 4.0]]}, [[1.0, 4.0], [0.0, 2.0]]),
    "taylor": (
        {"squared_batch_gradient": [[1.0, 2.0], [3.0, 4.0]]},
        [[1.0, 8.0], [27.0, 1.0]],
    ),
    "taylor_gate": ({"gate_gradient": [3.0, 4.0]}, [3.0, 4.0]),
    "taylor_map": ({"activation_gradient": [3.0, 4.0]}, [0.6, 0.8]),
    "wanda": ({"input_norm": [[2.0], [1.0]]}, [[2.0, 4.0], [3.0, 0.5]]),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_scores_by_hand(name):
    signals, expected = BY_HAND[name]
    signals = {key: np.array(value) for key, value in signals.items()}
    np.testing.assert_allclose(criteria.get(name)(W, signals), expected)


def groups(name, weight, pattern="weight", **signals):
    """Scores of the groups of a pattern."""
    pool = tfc.patterns.get(pattern).pool
    signals = {key: np.array(value) for key, value in signals.items()}
    return criteria.get(name).score_groups(
        [(weight, signals)],
        lambda scores, reduce: pool(np.broadcast_to(scores[0], weight.shape), reduce),
    )


def test_lamp_is_the_share_of_what_is_at_least_as_large():
    # Squares 1, 4, 9, 0.25; those at least as large add up to 14, 13, 9, 14.25.
    expected = [[1 / 14, 4 / 13], [1.0, 0.25 / 14.25]]
    np.testing.assert_allclose(groups("lamp", W), expected)
    # Filters: means 5 and 2.125.
    np.testing.assert_allclose(groups("lamp", W, "filter"), [1.0, 2.125 / 7.125])
    np.testing.assert_array_equal(groups("lamp", np.zeros((2, 2))), np.zeros((2, 2)))


def test_lamp_cuts_no_layer_off():
    model = keras.Sequential(
        [keras.Input((20,)), L.Dense(20, name="weak"), L.Dense(20, name="strong")]
    )
    model.layers[0].kernel.assign(model.layers[0].kernel * 1e-3)
    kept = [
        [np.count_nonzero(layer.kernel) for layer in small.layers]
        for small in (
            tfc.prune(model, 0.9, "lamp", scope="global"),
            tfc.prune(model, 0.45, "magnitude", scope="global"),
        )
    ]
    assert sum(kept[0]) == 80
    assert min(kept[0]) > 30
    assert kept[1][1] > 395


INPUTS = np.array([[1.0, 2.0, 0.0, 3.0], [3.0, 0.0, 1.0, 1.0]], "float32")


def test_wanda_ranks_within_each_output():
    # Norms of the inputs: sqrt of 5, 2, 1/2, 5.
    weight = np.array([[1.0, 9.0], [1.0, 9.0], [2.0, 9.0], [1.0, 9.0]])
    small = tfc.prune(dense(weight), 0.5, "wanda", data=[INPUTS])
    kept = [[1, 1], [0, 0], [0, 0], [1, 1]]
    np.testing.assert_array_equal(small.layers[0].kernel.numpy() != 0, kept)
    # 2 sqrt(0.5) and sqrt(2) are equal: the earlier one stays.
    small = tfc.prune(dense(weight), 0.25, "wanda", data=[INPUTS], scope="global")
    kept = [[1, 1], [1, 1], [0, 0], [1, 1]]
    np.testing.assert_array_equal(small.layers[0].kernel.numpy() != 0, kept)
    ranks = groups("wanda", weight, input_norm=[[2.0], [1.0], [0.5], [3.0]])
    np.testing.assert_array_equal(
        ranks, [[0.75, 0.75], [0.5, 0.5], [0.25, 0.25], [1.0, 1.0]]
    )


def test_wanda_halves_the_inputs_of_each_filter_of_every_layer():
    x = keras.Input((6, 6, 2))
    y = L.Conv2D(4, 3, name="conv")(x)
    y = L.DepthwiseConv2D(2, name="depthwise")(y)
    y = L.Conv2D(6, 2, groups=2, name="grouped")(y)
    model = keras.Model(x, L.Dense(5, name="head")(L.Flatten()(y)))
    data = [models.inputs(model, 8)]
    small = tfc.prune(model, 0.5, "wanda", data=data)
    for ref in weight_refs(small):
        if ref.is_kernel:
            kept = ref.layout.to_canonical(ref.variable.numpy() != 0)
            kept = kept.reshape(-1, kept.shape[-1])
            assert (kept.sum(axis=0) == len(kept) / 2).all(), ref.path


RANKS = [[0.25, 1.0], [0.5, 0.5], [0.75, 0.75], [1.0, 0.25]]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("filter", [3.0, 2.0]),
        ({"block": {"inputs": 2}}, [[0.5, 1.0], [1.0, 0.5]]),
        ({"block": {"inputs": 2, "outputs": 2}}, [[2.0], [3.0]]),
        ({"n_of_m": {"n": 1, "m": 2}}, RANKS),
    ],
    ids=str,
)  # fmt: skip
def test_wanda_compares_groups_of_one_output_only_with_each_other(pattern, expected):
    weight = np.array([[1.0, 3.5], [2.0, 1.5], [4.0, 2.0], [5.0, 1.0]])
    found = groups("wanda", weight, pattern, input_norm=[[1.0]])
    np.testing.assert_allclose(found, expected)


def gated(gamma):
    """Two channels after batch normalization, each times one, summed."""
    x = keras.Input((1,))
    y = L.Dense(2, use_bias=False, name="d")(x)
    y = L.BatchNormalization(name="norm", epsilon=0.0)(y)
    model = keras.Model(x, L.Dense(1, use_bias=False, name="sum")(y))
    norm = [gamma, [0.5, 1.0], [1.0, 0.0], [4.0, 1.0]]
    models.set_weights(model, [[[1.0, 2.0]], *norm, [[1.0], [1.0]]])
    model.compile("sgd", keras.losses.MeanAbsoluteError())
    return model


GATED_DATA = [
    (np.array([[3.0], [5.0]], "float32"), np.full((2, 1), -99, "float32")),
    (np.array([[1.0], [1.0]], "float32"), np.full((2, 1), -99, "float32")),
]


def test_gates_behind_batch_norm_by_hand():
    model = gated([2.0, 3.0])
    weights = [w for w in kernels(model) if w.path == "d/kernel"]
    (signals,) = collect(model, weights, GATED_DATA, {"gate_gradient"})
    # dL/dz is 1/n. z1 = 2 (x - 1)/2 + 0.5: 2.5, 4.5 | 0.5, 0.5.
    # z2 = 3 * 2x + 1: 19, 31 | 7, 7. Means of each batch squared.
    expected = [(3.5**2 + 0.5**2) / 2, (25**2 + 7**2) / 2]
    np.testing.assert_allclose(signals["gate_gradient"], expected, rtol=1e-5)


def test_gates_without_batch_norm_by_hand():
    model = dense([[1.0, 2.0], [3.0, 4.0]])
    data = [
        (np.array([[1.0, 2.0]], "float32"), np.zeros((1, 2), "float32")),
        (np.array([[1.0, 0.0]], "float32"), np.zeros((1, 2), "float32")),
    ]
    (signals,) = collect(model, kernels(model), data, {"gate_gradient"})
    # L = mean of squares of the outputs y: Σ_i w_i dL/dw_i = y². y = 7, 10 | 1, 2.
    expected = [(49**2 + 1) / 2, (100**2 + 4**2) / 2]
    np.testing.assert_allclose(signals["gate_gradient"], expected)


def test_gamma_of_the_norm_that_follows():
    model = gated([-2.0, 1.0])
    small = tfc.prune(model, {"d": 0.5}, "batch_norm_gamma")
    np.testing.assert_array_equal(small.get_layer("d").kernel, [[1.0, 0.0]])
    with pytest.raises(ValueError, match=r"none reads .*'sum/kernel'.*ignore="):
        tfc.prune(model, 0.5, "batch_norm_gamma")
    small = tfc.prune_channels(model, 0.5, criterion="batch_norm_gamma")
    np.testing.assert_array_equal(small.get_layer("d").kernel, [[1.0]])


def test_input_norm_is_the_diagonal_of_the_moments():
    x = keras.Input((5, 5, 4))
    y = L.Conv2D(6, 2, padding="same", strides=2, groups=2, name="conv")(x)
    model = keras.Model(x, L.EinsumDense("abcd,de->abce", (None, None, 3))(y))
    data = [models.inputs(model, 3)]
    for found in collect(model, kernels(model), data, {"input_norm", "input_moments"}):
        diagonal = np.diagonal(found["input_moments"], axis1=1, axis2=2)
        norm, groups = found["input_norm"], len(diagonal)
        norm = norm.reshape(-1, groups, norm.shape[-1] // groups)
        for part in range(groups):
            expected = np.broadcast_to(diagonal[part][:, None] ** 0.5, norm[:, 0].shape)
            np.testing.assert_allclose(norm[:, part], expected)


def test_cost_of_weights_and_groups():
    x = keras.Input((4, 4, 1))
    y = L.Conv2D(2, 3, use_bias=False, name="conv")(x)
    model = keras.Model(x, L.Dense(3, use_bias=False, name="head")(L.Flatten()(y)))
    conv, head = collect(model, kernels(model), None, {"positions"})
    assert (float(conv["positions"]), float(head["positions"])) == (4.0, 1.0)
    cost = {"minus_cost": {"criterion": "l1", "strength": 1e5}}
    found = groups(cost, np.full((3, 3, 1, 2), 7.0), positions=4.0)
    np.testing.assert_allclose(found, np.full((3, 3, 1, 2), 7 - 0.4))
    # A filter of 9 weights at 4 positions.
    found = groups(cost, np.full((3, 3, 1, 2), 7.0), "filter", positions=4.0)
    np.testing.assert_allclose(found, [7 - 3.6, 7 - 3.6])


def test_of_equal_channels_the_expensive_ones_go():
    x = keras.Input((8, 8, 2))
    y = L.Conv2D(8, 3, name="dear")(x)
    y = L.MaxPooling2D(6)(y)
    y = L.Conv2D(8, 1, name="cheap")(y)
    model = keras.Model(x, L.Dense(2, name="head")(L.Flatten()(y)))
    for layer in (model.get_layer("dear"), model.get_layer("cheap")):
        layer.kernel.assign(np.ones(layer.kernel.shape))
    left = [
        [small.get_layer(name).filters for name in ("dear", "cheap")]
        for small in (
            tfc.prune_channels(model, 0.5, criterion=criterion, scope="global")
            for criterion in (
                "l1",
                {"minus_cost": {"criterion": "l1", "strength": 1.0}},
            )
        )
    ]
    assert left[0][0] > left[1][0]
    assert left[1][1] == 8


def two_layers():
    model = keras.Sequential(
        [
            keras.Input((2,)),
            L.Dense(2, use_bias=False, name="a"),
            L.BatchNormalization(epsilon=0.0, name="norm"),
            L.ReLU(),
            L.Dense(2, use_bias=False, name="b", activation="softmax"),
        ]
    )
    norm = [[-2.0, 1.0], [0.0, -1.0], [0.0, 1.0], [4.0, 1.0]]
    values = [[[1.0, -2.0], [3.0, 0.5]], *norm, [[1.0, -1.0], [2.0, 0.5]]]
    models.set_weights(model, values)
    return model


def test_synaptic_flow_by_hand():
    weights = kernels(model := two_layers())
    a, b = collect(model, weights, None, {"synaptic_flow"})
    # Inputs of the norm 1 + 3 and 2 + 0.5; it makes 2 * 4 / 2 = 4 and 2.5 - 1 + 1.
    np.testing.assert_allclose(b["synaptic_flow"], [[4.0, 4.0], [2.5, 2.5]])
    # After it 1 + 1 and 2 + 0.5, times 2/2 and 1.
    np.testing.assert_allclose(a["synaptic_flow"], [[2.0, 2.5], [2.0, 2.5]])
    assert a["synaptic_flow"].dtype == np.float64


ENDS = {
    "activation": lambda x: L.Dense(2, activation="sigmoid", name="b")(x),
    "layer": lambda x: L.Softmax()(L.Dense(2, name="b")(x)),
    "operation": lambda x: keras.ops.softmax(L.Dense(2, name="b")(x)),
    "nested": lambda x: keras.Sequential(
        [keras.Input((2,)), L.Dense(2, name="b"), L.Softmax()]
    )(x),
}


@pytest.mark.parametrize("end", ENDS)
def test_synaptic_flow_is_that_of_logits(end):
    x = keras.Input((2,))
    model = keras.Model(x, ENDS[end](L.Dense(2, name="a")(x)))
    models.set_weights(model, 2 * [[[1.0, -2.0], [3.0, 0.5]], [0.0, 0.0]])
    a, b = collect(model, kernels(model), None, {"synaptic_flow"})
    # 1 + 3 and 2 + 0.5 come in, as much goes out of each.
    np.testing.assert_allclose(b["synaptic_flow"], [[4.0, 4.0], [2.5, 2.5]])
    np.testing.assert_allclose(a["synaptic_flow"], [[3.0, 3.5], [3.0, 3.5]])


def test_synflow_scores_again_what_each_round_has_left():
    model = two_layers()
    # Scores: 2, 5, 6, 1.25 of a; 4, 4, 5, 1.25 of b. One round takes 1.25, 1.25, 2, 4.
    one = tfc.prune(model, 0.5, {"synflow": {"rounds": 1}}, scope="global")
    kept = [layer.kernel.numpy() != 0 for layer in (one.layers[0], one.layers[3])]
    np.testing.assert_array_equal(kept, [[[0, 1], [1, 0]], [[1, 0], [1, 0]]])
    # In two rounds 8 * sqrt(1/2) = 5.66, 6 stay of 8, then 4. Without the last of a,
    # the input of b's second row is 2, without that of b 2 follows it: a scores 2, 4, 6
    # and b 4, 4, 4: the last of the three is removed.
    two = tfc.prune(model, 0.5, {"synflow": {"rounds": 2}}, scope="global")
    kept = [layer.kernel.numpy() != 0 for layer in (two.layers[0], two.layers[3])]
    np.testing.assert_array_equal(kept, [[[0, 1], [1, 0]], [[1, 1], [0, 0]]])


@pytest.mark.parametrize("rules", [{}, {".*": "mask"}], ids=["plain", "masks"])
def test_synflow_leaves_no_layer_without_weights_and_the_model_as_it_was(rules):
    model = keras.Sequential(
        [keras.Input((30,)), *(L.Dense(30, name=f"d{i}") for i in range(6)), L.Dense(2)]
    )
    model.layers[2].kernel.assign(model.layers[2].kernel * 1e-3)
    model = tfc.compress(model, rules) if rules else model
    before = model.get_weights()
    small = tfc.strip(tfc.prune(model, 0.99, "synflow", scope="global"))
    kept = [np.count_nonzero(layer.kernel) for layer in small.layers]
    assert sum(kept) == 55
    assert min(kept) >= 2
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@keras.saving.register_keras_serializable("tests")
class Probabilities(models.Subclassed):
    def call(self, inputs, training=None):
        return keras.ops.softmax(super().call(inputs, training=training))


def test_synflow_needs_logits():
    model = Probabilities(name="own")
    model(np.zeros((1, 8), "float32"))
    with pytest.raises(ValueError, match=r"needs logits.*'own'.*from_logits"):
        tfc.prune(model, 0.5, "synflow")


def test_gradient_flow_by_hand():
    model = dense([[1.0], [2.0]])
    data = [(np.array([[1.0, 3.0]], "float32"), np.array([[0.0]], "float32"))]
    (signals,) = collect(model, kernels(model), data, {"gradient_flow"})
    # L = (x·w / T)², g = 2 (x·w) x / T², H = 2 x xᵀ / T²: H g = 4 (x·w) |x|² x / T⁴.
    expected = 4 * 7 * 10 * np.array([[1.0], [3.0]]) / 200**4
    np.testing.assert_allclose(signals["gradient_flow"], expected, rtol=1e-5)
    # Scores 1 * 1 and 2 * 3.
    small = tfc.prune(model, 0.5, "grasp", data=data)
    np.testing.assert_array_equal(small.layers[0].kernel, [[0.0], [2.0]])


def test_gradient_flow_is_the_same_of_logits_and_probabilities():
    found = []
    for activation in (None, "softmax"):
        keras.utils.set_random_seed(0)
        model = models.small()
        model.layers[-1].activation = keras.activations.get(activation)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not activation)
        model.compile("sgd", loss)
        data = [(models.inputs(model), models.classes())]
        found += collect(model, kernels(model)[:1], data, {"gradient_flow"})
    scale = np.abs(found[0]["gradient_flow"]).max()
    np.testing.assert_allclose(
        found[1]["gradient_flow"], found[0]["gradient_flow"], atol=1e-3 * scale
    )


def test_output_sensitivity_by_hand():
    model = dense([[1.0, 0.0], [2.0, 1.0]])
    data = [np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[-1.0, 1.0]])]
    weights, data = kernels(model), [x.astype("float32") for x in data]
    (signals,) = collect(model, weights, data, {"output_sensitivity"})
    # dF/dw = mean of 2 x yᵀ; y = (1, 0), (2, 1) | (1, 1).
    first, second = [[1.0, 0.0], [2.0, 1.0]], [[-2.0, -2.0], [2.0, 2.0]]
    expected = (np.abs(first) + np.abs(second)) / 2
    np.testing.assert_allclose(signals["output_sensitivity"], expected)


def trained(optimizer, regularizer=None, epochs=1, measure="synaptic_intelligence"):
    """A model `y = w x` and its importance after steps on `x = 1, y = 0`."""
    layer = L.Dense(1, use_bias=False, kernel_regularizer=regularizer, name="d")
    model = keras.Sequential([keras.Input((1,)), layer])
    layer.kernel.assign([[1.0]])
    model.compile(optimizer, "mse")
    x, y = np.ones((2, 1), "float32"), np.zeros((2, 1), "float32")
    # Traced before anything is watched.
    model.fit(x, y, verbose=0)
    layer.kernel.assign([[1.0]])
    data = None if measure == "synaptic_intelligence" else [(x, y)]
    importance = tfc.callbacks.LifelongImportance(measure, data)
    model.fit(x, y, epochs=epochs, callbacks=[importance], verbose=0)
    return model, importance


def test_synaptic_intelligence_by_hand():
    model, importance = trained(keras.optimizers.SGD(0.25), epochs=2)
    # L = w², g = 2 w; w goes 1, 0.5, 0.25: ω = 2 * 0.5 + 1 * 0.25; Δ = 0.75.
    expected = 1.25 / (0.75**2 + 0.1)
    np.testing.assert_allclose(importance.criterion.values["d/kernel"], expected)
    score = importance.criterion(np.array([[0.25]]), Signals(ref=weight_refs(model)[0]))
    np.testing.assert_allclose(score, expected * 0.25**2)


def test_synaptic_intelligence_has_the_gradient_of_the_loss_and_the_actual_step():
    regularizer = keras.regularizers.L2(0.5)
    _, importance = trained(keras.optimizers.SGD(0.25), regularizer)
    # The step is -0.25 (2 w + w), the gradient of the loss 2 w alone.
    expected = 2 * 0.75 / (0.75**2 + 0.1)
    np.testing.assert_allclose(importance.criterion.values["d/kernel"], expected)
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.25))
    _, importance = trained(scaled)
    np.testing.assert_allclose(
        importance.criterion.values["d/kernel"], 2 * 0.5 / (0.5**2 + 0.1)
    )


def test_replicas_add_up_their_parts_of_the_gradient():
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        regularizer = keras.regularizers.L2(0.5)
        _, importance = trained(keras.optimizers.SGD(0.25), regularizer)
    # As on one device: each replica has half of the loss and of the regularizer's share.
    np.testing.assert_allclose(
        importance.criterion.values["d/kernel"], 2 * 0.75 / (0.75**2 + 0.1), rtol=1e-6
    )


def test_importance_of_later_trainings_is_added_and_nobody_looks_in_between():
    model, importance = trained(keras.optimizers.SGD(0.25))
    x, y = np.ones((1, 1), "float32"), np.zeros((1, 1), "float32")
    first = importance.criterion.values["d/kernel"]
    model.fit(x, y, verbose=0)
    assert "apply" not in vars(model.optimizer)
    np.testing.assert_array_equal(importance.criterion.values["d/kernel"], first)
    model.layers[0].kernel.assign([[1.0]])
    model.fit(x, y, callbacks=[importance], verbose=0)
    np.testing.assert_allclose(importance.criterion.values["d/kernel"], 2 * first)


@pytest.mark.parametrize(
    ("measure", "score"),
    # After each epoch, at w = 0.5 and 0.25: (2 w)² times w², 2 w times |w|.
    [("fisher", 1.25 * 0.25**2), ("memory_aware_synapses", 1.5 * 0.25)],
)
def test_importance_over_data_by_hand(measure, score):
    model, importance = trained(keras.optimizers.SGD(0.25), None, 2, measure)
    found = importance.criterion(np.array([[0.25]]), Signals(ref=weight_refs(model)[0]))
    np.testing.assert_allclose(found, [[score]], rtol=1e-6)


def test_lifelong_importance_prunes_masked_models_too():
    model = models.compile(tfc.compress(models.small(), {".*": "mask"}))
    importance = tfc.callbacks.LifelongImportance()
    schedule = tfc.schedules.OneShot(0.5, 2)
    pruning = tfc.callbacks.Pruning(schedule, importance.criterion)
    x, y = models.inputs(model), models.classes()
    model.fit(x, y, epochs=3, callbacks=[importance, pruning], verbose=0)
    assert tfc.report(model).sparsity == pytest.approx(0.5, abs=0.02)
    with pytest.raises(ValueError, match=r"no importance for weight 'd/kernel'.*epoch"):
        tfc.prune(dense(EIGHT), 0.5, importance.criterion)


@pytest.mark.parametrize(
    "arguments", [("fisher", None), ("synaptic_intelligence", [(EIGHT, EIGHT)])]
)
def test_data_of_lifelong_importance(arguments):
    with pytest.raises(ValueError, match="data"):
        tfc.callbacks.LifelongImportance(*arguments)


def test_attention_goes_to_the_channel_that_helps():
    x = keras.Input((2,))
    y = L.Dense(2, use_bias=False, name="both")(x)
    model = keras.Model(x, L.Dense(1, use_bias=False, name="sum")(y))
    models.set_weights(model, [np.eye(2), np.ones((2, 1))])
    model.compile("sgd", "mse")
    values = np.random.default_rng(0).normal(size=(320, 2)).astype("float32")
    # The other channel is noise.
    data = [(part, part[:, 1:]) for part in np.split(values, 10)]
    weights = kernels(model)[:1]
    (signals,) = collect(model, weights, data, {"attention"})
    noise, helps = signals["attention"]
    assert 0 < noise < helps < 1
    small = tfc.prune_channels(model, 0.5, criterion="pcas", data=data)
    np.testing.assert_array_equal(small.get_layer("both").kernel, [[0.0], [1.0]])
    np.testing.assert_array_equal(model.get_layer("both").kernel, np.eye(2))


def test_attention_to_other_layers():
    model = models.compile(models.recurrent())
    data = [(models.inputs(model), models.classes())]
    with pytest.raises(
        ValueError, match=r"'lstm/.*kernel' belongs to a LSTM.*taylor_gate"
    ):
        tfc.prune(model, {"lstm.*": 0.5}, "pcas", data=data)


def network():
    x = keras.Input((4,))
    y = L.ReLU()(L.BatchNormalization(name="norm1")(L.Dense(4, name="fc1")(x)))
    y = L.ReLU()(L.BatchNormalization(name="norm2")(L.Dense(4, name="fc2")(y)))
    return keras.Model(x, L.Dense(5, name="head")(y))


# One for each way of computing scores; the contract tests cover all criteria.
@pytest.mark.parametrize(
    "name", ["lamp", "minus_cost", "momentum", "synflow", "taylor_gate", "wanda"]
)
def test_usable_everywhere(name):
    model = models.compile(network())
    data = [(models.inputs(model, 8), models.classes(8))]
    model.optimizer.build(model.trainable_variables)
    small = tfc.prune(model, {"fc.*": 0.5}, name, data=data)
    report = tfc.report(small)
    assert {report[f"{a}/kernel"].sparsity for a in ("fc1", "fc2")} == {0.5}
    small = tfc.prune_channels(model, 0.5, criterion=name, data=data)
    assert [small.get_layer(layer).units for layer in ("fc1", "fc2")] == [2, 2]
    masked = models.compile(tfc.compress(model, {"fc.*": "mask"}))
    masked.optimizer.build(masked.trainable_variables)
    for kind in (tfc.callbacks.Pruning, tfc.callbacks.ChannelPruning):
        pruning = kind(0.5, name, data=data)
        pruning.set_model(masked)
        pruning.update(0)
        assert pruning.sparsity == 0.5
