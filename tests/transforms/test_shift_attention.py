import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.callbacks import Annealing
from tfcompress.core.compressed import treatments
from tfcompress.rewrites import SplitShift, apply
from tfcompress.transforms import ShiftAttention

L = keras.layers


def convolution(**arguments):
    arguments = {"padding": "same", "name": "c", **arguments}
    model = keras.Sequential([keras.Input((6, 6, 4)), L.Conv2D(8, 3, **arguments)])
    generator = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(generator.normal(size=variable.shape))
    return model


def shifted(per_filter=False, **arguments):
    """A convolution whose attention has settled at known positions."""
    model = tfc.compress(convolution(**arguments), {".*": ShiftAttention(per_filter)})
    ((_, treatment),) = treatments(model)
    (shift,) = treatment.transforms
    shift.attention.assign(np.random.default_rng(1).normal(size=shift.attention.shape))
    shift.advance(1.0, treatment.variable.numpy)
    return model, treatment, shift


def test_nothing_changes_at_first():
    model = convolution()
    x = models.inputs(model)
    shift = tfc.compress(model, {".*": ShiftAttention()})
    assert models.difference(model, shift, x) <= 1e-5


def test_soft_attention_and_gradient_in_closed_form():
    _, treatment, shift = shifted()
    shift.advance(0.5, treatment.variable.numpy)
    v, w = shift.attention.numpy(), treatment.variable.numpy()
    weights = np.exp(10 * v)
    a = weights / weights.sum(axis=(0, 1), keepdims=True)
    np.testing.assert_allclose(treatment(), 9 * a * w, rtol=1e-3, atol=1e-6)
    upstream = np.random.default_rng(2).normal(size=w.shape).astype("float32")
    latent, attention = models.gradients(treatment, upstream, shift.attention)
    np.testing.assert_allclose(latent, 9 * a * upstream, rtol=1e-3, atol=1e-6)
    reward = (upstream * w).sum(axis=3, keepdims=True)
    mean = (a * reward).sum(axis=(0, 1), keepdims=True)
    np.testing.assert_allclose(
        attention, 9 * 10 * a * (reward - mean), rtol=1e-2, atol=1e-3
    )


@pytest.mark.parametrize("per_filter", [False, True])
def test_one_place_is_left(per_filter):
    _, treatment, shift = shifted(per_filter)
    kernel = treatment.bake().reshape(9, 4, 8)
    places = shift.attention.numpy().reshape(9, 4, -1).argmax(axis=0)
    assert (np.count_nonzero(kernel, axis=0) == 1).all()
    assert (np.abs(kernel).argmax(axis=0) == places).all()


def test_training_ends_with_shifts():
    model = tfc.compress(convolution(), {".*": "shift_attention"})
    model.compile("sgd", "mse", run_eagerly=True)
    x = models.inputs(model, 4)
    model.fit(x, np.ones((4, 6, 6, 8)), 2, verbose=0, callbacks=[Annealing()])
    split = apply(tfc.strip(model), "split_shift")
    assert [layer.name for layer in split.layers[1:3]] == ["c_shift", "c"]
    assert models.difference(model, split, x) <= 1e-5


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"padding": "valid", "use_bias": False},
        {"strides": 2, "activation": "relu"},
        {"dilation_rate": 2},
    ],
    ids=repr,
)
def test_split_computes_the_same_with_fewer_macs(arguments):
    plain = tfc.strip(shifted(**arguments)[0])
    split = apply(plain, SplitShift())
    assert [type(layer) for layer in split.layers[1:]] == [L.DepthwiseConv2D, L.Conv2D]
    assert models.difference(plain, split, models.inputs(plain)) <= 1e-5
    before, after = tfc.report(plain).macs, tfc.report(split).macs
    # k² n for each channel become k² + n.
    assert after / before == pytest.approx((9 + 8) / (9 * 8))


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (convolution(), "several places"),
        (tfc.strip(shifted(per_filter=True)[0]), "places of its own"),
        (tfc.strip(shifted(strides=(1, 2))[0]), "depthwise strides are square"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_convolutions_stay(model, why):
    assert len(apply(model, SplitShift()).layers) == 2


def test_the_file_has_a_depthwise_and_a_pointwise_convolution(tmp_path):
    split = apply(tfc.strip(shifted()[0]), SplitShift())
    result = tfc.export_tflite(split, tmp_path / "model.tflite")
    assert result.operations["DEPTHWISE_CONV_2D"] == 1
    assert result.operations["CONV_2D"] == 1
    x = models.inputs(split, 1)
    found = tfc.Interpreter(tmp_path / "model.tflite").run(x)
    np.testing.assert_allclose(found, split(x), atol=1e-4)


def test_dense_kernels_are_left_as_they_are():
    treatment = models.dense_treatment(np.ones((4, 2)), ShiftAttention())
    np.testing.assert_array_equal(treatment(), np.ones((4, 2)))
