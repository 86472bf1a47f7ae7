"""Criteria, with numbers worked by hand."""

import keras
import numpy as np
import pytest
from tfcompress.signals import Signals

import tfcompress as tfc
from tfcompress import criteria
from tfcompress.core.collect import collect
from tfcompress.core.walk import weight_refs
from tfcompress.pruning.prune import unmasked

L = keras.layers
EIGHT = np.array([[3.0, -1.0], [8.0, -4.0], [2.0, 7.0], [-6.0, 5.0]])


def dense(values, optimizer="sgd"):
    """A model of one kernel, whose loss is the mean of `(x·w)²`."""
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
    with pytest.raises(ValueError, match=r"no momentum of weight d/kernel.*momentum=0"):
        tfc.prune(model, 0.5, "momentum")


def test_gradient_keeps_where_the_loss_is_steep():
    model = dense([[9.0], [-8.0]])
    # L = (x·w)² with x = (1, 2): x·w = -7, dL/dw = (-14, -28).
    data = [(np.array([[1.0, 2.0]], "float32"), np.zeros((1, 1), "float32"))]
    small = tfc.prune(model, 0.5, "gradient", data=data)
    np.testing.assert_array_equal(small.layers[0].kernel, [[0.0], [-8.0]])
