import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.callbacks import Pruning
from tfcompress.core.collect import collect
from tfcompress.core.compressed import treatments
from tfcompress.core.walk import weight_refs
from tfcompress.pruning.prune import masked_weights, unmasked


class Taylor(tfc.criteria.Criterion):
    """A user's own criterion: |w dL/dw|."""

    needs = frozenset({"gradient"})

    def __call__(self, weight, signals):
        return np.abs(weight * signals["gradient"])


def linear(kernel):
    layer = keras.layers.Dense(1, use_bias=False)
    model = keras.Sequential([keras.Input((len(kernel),)), layer])
    layer.kernel.assign(np.reshape(kernel, (-1, 1)))
    model = tfc.compress(model, {".*": "mask"})
    model.compile("sgd", "mse")
    return model


DATA = [
    (np.array([[1.0, 0.0, 2.0]], "float32"), np.array([[0.0]], "float32")),
    (np.array([[0.0, 3.0, 0.0]], "float32"), np.array([[0.0]], "float32")),
]


def test_gradient_by_hand():
    model = linear([1.0, 2.0, 3.0])
    (signals,) = collect(model, [t for _, t in treatments(model)], DATA, {"gradient"})
    # L = (w·x)²: dL/dw = 2 (w·x) x; w·x is 7 and 6; the mean of the two batches.
    np.testing.assert_allclose(signals["gradient"].ravel(), [7.0, 18.0, 14.0])


def test_masked_weights_have_a_gradient_too():
    model = linear([1.0, 2.0, 3.0])
    ((_, treatment),) = treatments(model)
    treatment.transforms[0].mask.assign([[False], [True], [True]])
    (signals,) = collect(model, [treatment], DATA, {"gradient"})
    np.testing.assert_allclose(signals["gradient"].ravel(), [6.0, 18.0, 12.0])


class Counting(keras.Model):
    """Counts how often its loss is computed."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.asked = keras.metrics.Sum("asked")

    def call(self, x):
        return self.dense(x)

    def compute_loss(self, *args, **kwargs):
        self.asked.update_state(1.0)
        return super().compute_loss(*args, **kwargs)


def test_metrics_count_the_training_only():
    model = Counting()
    model(DATA[0][0])
    model.compile("sgd", "mse")
    model.fit(*DATA[0], verbose=0)
    collect(model, [unmasked(ref) for ref in weight_refs(model)], DATA, {"gradient"})
    assert float(model.asked.result()) == 1


def test_a_shared_layer_sums_over_its_calls():
    layer = keras.layers.Dense(1, use_bias=False, name="d")
    x = keras.Input((1,))
    model = keras.Model(x, layer(layer(x)))
    layer.kernel.assign([[3.0]])
    model = tfc.compress(model, {".*": "mask"})
    model.compile("sgd", "mse")
    data = [(np.ones((1, 1), "float32"), np.zeros((1, 1), "float32"))]
    (signals,) = collect(model, [t for _, t in treatments(model)], data, {"gradient"})
    # L = w⁴: dL/dw = 4 w³.
    np.testing.assert_allclose(signals["gradient"], [[108.0]])


def test_a_weight_that_takes_no_part_has_no_gradient():
    @keras.saving.register_keras_serializable("tests")
    class Idle(keras.layers.Layer):
        def build(self, shape):
            self.used, self.idle = (
                keras.layers.Dense(1, name=name) for name in ("used", "idle")
            )
            for layer in (self.used, self.idle):
                layer.build(shape)

        def call(self, x):
            return self.used(x)

    model = keras.Sequential([keras.Input((3,)), Idle(name="both")])
    for each in (model, tfc.compress(model, {".*": "mask"})):
        each.compile("sgd", "mse")
        weights = masked_weights(each) or [
            unmasked(ref) for ref in weight_refs(each) if ref.is_kernel
        ]
        used, idle = collect(each, weights, DATA, {"gradient"})
        assert np.abs(used["gradient"]).max() > 0
        np.testing.assert_array_equal(idle["gradient"], np.zeros((3, 1)))


def test_pruning_by_a_criterion_with_signals():
    model = linear([1.0, 2.0, 3.0])
    pruning = Pruning(0.34, criterion=Taylor(), data=DATA)
    pruning.set_model(model)
    pruning.update(0)
    ((_, treatment),) = treatments(model)
    np.testing.assert_array_equal(treatment.bake().ravel(), [0.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("data", "needs", "message"),
    [
        (None, {"gradient"}, "pass data="),
        ([], {"gradient"}, "data is empty"),
        (DATA, {"colour"}, "Unknown signal"),
    ],
)
def test_bad_arguments(data, needs, message):
    model = linear([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=message):
        collect(model, [t for _, t in treatments(model)], data, needs)


def test_a_model_without_a_loss():
    model = tfc.compress(models.sequential(), {".*": "mask"})
    with pytest.raises(ValueError, match="compile"):
        collect(model, [t for _, t in treatments(model)], DATA, {"gradient"})
