import itertools

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.search.harms import error_by_spread
from tfcompress.search.hessian import hessian_traces
from tfcompress.search.mixed_precision import choose

L = keras.layers


@pytest.mark.parametrize("seed", range(5))
def test_the_choice_is_the_best_of_all(seed):
    generator = np.random.default_rng(seed)
    harms = 10 ** generator.uniform(-6, 1, (6, 3))
    sizes = np.outer(generator.integers(1, 500, 6), [2, 4, 8])
    budget = sizes[:, 0].sum() * generator.uniform(1, 3)
    rows = np.arange(6)
    fitting = [
        columns
        for columns in itertools.product(range(3), repeat=6)
        if sizes[rows, columns].sum() <= budget
    ]
    best = min(harms[rows, columns].sum() for columns in fitting)
    found = choose(harms, sizes, budget)
    assert sizes[rows, found].sum() <= budget
    assert harms[rows, found].sum() == pytest.approx(best, rel=1e-9)


def test_the_layer_that_matters_gets_more_bits():
    model = keras.Sequential(
        [keras.Input((16,)), L.Dense(32, name="wide"), L.Dense(4, name="a.b")]
    )
    # Whatever the wide layer computes, the second one reads only a hundredth of it.
    model.get_layer("a.b").kernel.assign(np.full((32, 4), 0.01) * np.arange(1, 5))
    x = models.inputs(model, 64)
    plan = tfc.mixed_precision(model, x, average_bits=4, bits=(2, 4, 8))
    assert plan.average_bits <= 4
    assert plan.size_bytes == sum(a.parameters * a.bits for a in plan.layers) / 8
    assert set(plan.rules) == {"wide", r"a\.b"}
    assert "harm at 2" in str(plan)
    harms = plan.layers[0].sensitivities
    assert harms[2] > harms[4] > harms[8]
    rounded = tfc.strip(tfc.compress(model, plan.rules))
    errors = np.mean(np.square(rounded(x) - model(x)))
    assert errors <= np.mean(np.square(model(x)))
    bytes_of_twos = 2 * (16 * 32 + 32 * 4) / 8
    tight = tfc.mixed_precision(model, x, budget_bytes=bytes_of_twos)
    assert {a.bits for a in tight.layers} == {2}
    with pytest.raises(ValueError, match="159 bytes is too small.*take 160"):
        tfc.mixed_precision(model, x, budget_bytes=bytes_of_twos - 1)


def test_hessian_trace_of_a_quadratic():
    # loss = mean (xᵀ w - y)², so that H = 2 E[x xᵀ]: diagonal, and signs see it exactly.
    model = keras.Sequential([keras.Input((3,)), L.Dense(1)])
    model.compile(loss="mse")
    data = [(np.diag([1.0, 2.0, 3.0]).astype("float32"), np.zeros((3, 1), "float32"))]
    traces = hessian_traces(model, [model.layers[0].kernel], data, model)
    np.testing.assert_allclose(traces, [2 * (1 + 4 + 9) / 3], rtol=1e-5)


def test_hessian_sensitivity_through_convolutions():
    model = models.compile(models.sequential())
    x = models.inputs(model, 16)
    data = [(x, models.classes(16))]
    plan = tfc.mixed_precision(model, data, average_bits=4, sensitivity="hessian_trace")
    assert [a.name for a in plan.layers] == ["conv", "depthwise", "head"]
    assert all(a.sensitivities[2] >= a.sensitivities[8] >= 0 for a in plan.layers)


def test_errors_of_outputs_count_by_their_own_spread():
    # Each error is a quarter of the variance of its output.
    exact = {"u": np.array([[-2.0], [2.0]]), "v": np.array([[-200.0], [200.0]])}
    off = {"u": np.array([[-1.0], [3.0]]), "v": np.array([[-300.0], [100.0]])}
    assert error_by_spread(off, exact) == 0.25 + 0.25
    assert error_by_spread({"u": np.full((2, 1), 3.0)}, {"u": np.ones((2, 1))}) == 4.0


def test_what_is_no_number_is_never_chosen():
    harms = np.array([[np.nan, 9.0], [0.0, np.inf]])
    sizes = np.array([[1, 2], [1, 2]])
    assert choose(harms, sizes, 4).tolist() == [1, 0]
    with pytest.raises(ValueError, match="take 0"):
        choose(harms, sizes, 2)
    with pytest.raises(ValueError, match="the harm is not finite"):
        choose(np.array([[np.nan, np.inf]]), sizes[:1], 4)


def two_channels(activation=None):
    """The first of two inputs matters for the answer, the second is only noise."""
    x = keras.Input((2,))
    y = L.Dense(1, use_bias=False, activation=activation, name="answer")(x)
    model = keras.Model(x, y)
    # 2 bits round 0.3 to 0: the second input no longer counts.
    model.get_layer("answer").kernel.assign([[1.0], [0.3]])
    return model


@pytest.mark.parametrize(
    ("loss", "activation", "targets", "drop"),
    [
        # Yes where x0 + 0.3 x1 > 0; without x1 the second and the fourth are wrong.
        ("binary_crossentropy", "sigmoid", [[1], [0], [0], [1]], 0.5),
        (None, "sigmoid", [1, 0, 0, 1], 0.5),
        # Errors of 0.3 · 2 in each, squared: 0.36.
        ("mse", None, [[1.6], [-0.5], [-1.6], [0.5]], 0.36),
    ],
)
def test_the_score_says_what_bits_do_harm(loss, activation, targets, drop):
    x = np.array([[1, 2], [0.1, -2], [-1, -2], [-0.1, 2]], "float32")
    model = two_channels(activation)
    if loss:
        model.compile("sgd", loss)
    plan = tfc.mixed_precision(
        model, (x, np.array(targets)), 8, bits=(2, 8), sensitivity="score"
    )
    (row,) = plan.layers
    assert row.sensitivities[2] == pytest.approx(drop, rel=1e-2)
    assert row.sensitivities[8] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("sensitivity", ["score", "hessian_trace"])
def test_several_outputs_and_one_hot_labels(sensitivity):
    model = models.two_ports()
    model.compile(
        loss={
            "u": "mse",
            "v": keras.losses.CategoricalCrossentropy(from_logits=True),
        }
    )
    generator = np.random.default_rng(0)
    x = {"a": generator.normal(size=(32, 4)), "b": generator.normal(size=(32, 3))}
    x = {name: array.astype("float32") for name, array in x.items()}
    outputs = {name: np.asarray(value) for name, value in model(x).items()}
    y = {"v": np.eye(3)[outputs["v"].argmax(axis=1)], "u": outputs["u"]}
    samples = (x, y) if sensitivity == "score" else [(x, y)]
    plan = tfc.mixed_precision(model, samples, 4, sensitivity=sensitivity)
    assert {row.name for row in plan.layers} == {"hidden", "u", "v"}
    harms = [row.sensitivities for row in plan.layers]
    assert all(harm[2] > harm[8] >= 0 for harm in harms)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"average_bits": 4, "sensitivity": "score"},
            r"expected \(x, y\)",
        ),
        ({"bits": (1, 4), "average_bits": 4}, "an integer from 2 to 8"),
        (
            {"average_bits": 4, "sensitivity": "size"},
            "'output_error', 'hessian_trace' or 'score'",
        ),
        ({}, "exactly one"),
        ({"average_bits": 4, "sensitivity": "hessian_trace"}, "expected batches"),
    ],
)
def test_bad_arguments(arguments, message):
    model = models.sequential()
    with pytest.raises(ValueError, match=message):
        tfc.mixed_precision(model, models.inputs(model), **arguments)


def test_outputs_that_are_not_finite_are_an_error():
    model = models.small()
    model.get_layer("head").bias.assign([np.nan] * 5)
    with pytest.raises(ValueError, match="'small' returns numbers that are not finite"):
        tfc.mixed_precision(model, models.inputs(model), average_bits=4)
