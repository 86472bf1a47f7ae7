import itertools

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
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
    # Whatever the wide layer does, the second reads only a hundredth of it.
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bits": (1, 4), "average_bits": 4}, "integers from 2 to 8"),
        ({"average_bits": 4, "sensitivity": "size"}, "output_error, hessian_trace"),
        ({}, "exactly one"),
        ({"average_bits": 4, "sensitivity": "hessian_trace"}, "needs a loss"),
    ],
)
def test_bad_arguments(arguments, message):
    model = models.sequential()
    with pytest.raises(ValueError, match=message):
        tfc.mixed_precision(model, models.inputs(model), **arguments)
