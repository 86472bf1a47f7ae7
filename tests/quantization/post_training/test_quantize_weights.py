import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.core.grid import integer_grid
from tfcompress.tflite.describe import describe

L = keras.layers


def small_network():
    x = keras.Input((8, 8, 3), name="image")
    y = L.Conv2D(8, 3, name="conv")(x)
    y = L.ReLU()(L.BatchNormalization(name="norm")(y))
    y = L.ReLU()(L.DepthwiseConv2D(3, name="depthwise")(y))
    y = L.GlobalAveragePooling2D()(L.Conv2D(16, 1, name="pointwise")(y))
    model = keras.Model(x, L.Dense(5, name="head")(y))
    samples = models.inputs(model, 64)
    for _ in range(3):
        model(samples, training=True)
    return model, samples


def stored_kernels(path):
    """`{shape: dequantized kernel}` of a file, with the output channels last."""
    interpreter = tfc.Interpreter(path)._interpreter
    found = {}
    for detail in interpreter.get_tensor_details():
        parameters = detail["quantization_parameters"]
        axis, scales = parameters["quantized_dimension"], parameters["scales"]
        if len(scales) < 2 or detail["dtype"] != np.int8:
            continue
        codes = np.moveaxis(interpreter.get_tensor(detail["index"]), axis, -1)
        found[codes.shape] = codes * scales
    return found


@pytest.mark.parametrize("ranged", [True, False], ids=["ranges", "samples"])
@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
def test_int8_files_hold_exactly_the_rounded_weights(rounding, ranged, tmp_path):
    model, x = small_network()
    if ranged:
        model = tfc.quantize_activations(model, ranges="mse", samples=x)
    rounded = tfc.quantize_weights(model, 4, x, rounding)
    assert not any("tfcompress" in type(a).__module__ for a in rounded.operations)
    tfc.export_tflite(rounded, tmp_path / "m.tflite", "int8", samples=x)
    stored = stored_kernels(tmp_path / "m.tflite")
    for name in ("conv", "depthwise", "pointwise", "head"):
        kernel = rounded.get_layer(name).kernel.numpy()
        if name == "depthwise":
            kernel = kernel[None, ..., 0]
        np.testing.assert_allclose(stored[kernel.shape], kernel, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ranged", [True, False], ids=["ranges", "samples"])
def test_int4_files_hold_bits_by_layer(ranged, tmp_path):
    model, x = small_network()
    if ranged:
        model = tfc.quantize_activations(model, samples=x)
    bits = {"conv": 8, "pointwise": 4, "head": 2}
    rounded = tfc.quantize_weights(model, bits, x)
    _, levels = integer_grid(rounded.get_layer("head").kernel)
    np.testing.assert_array_equal(levels, 1)
    tfc.export_tflite(rounded, tmp_path / "m.tflite", "int4", samples=x)
    kinds = describe(tmp_path / "m.tflite").weight_bytes
    assert kinds["INT4"] == (8 * 16 + 16 * 5) / 2
    assert kinds["INT8"] == 27 * 8 + 9 * 8
    with tfc.Interpreter(tmp_path / "m.tflite") as interpreter:
        np.testing.assert_allclose(interpreter.run(x), rounded(x), atol=0.05)


def test_bias_correction_makes_good_the_mean_of_each_channel():
    model = keras.Sequential([keras.Input((6, 6, 2)), L.Conv2D(4, 3, name="conv")])
    x = models.inputs(model, 32) + 3
    means = [
        np.mean(m(x), axis=(0, 1, 2))
        for m in (
            model,
            tfc.quantize_weights(model, 2, x, scales="max", correct_bias=False),
            tfc.quantize_weights(model, 2, x, scales="max"),
        )
    ]
    assert np.abs(means[1] - means[0]).max() > 0.1
    np.testing.assert_allclose(means[2], means[0], atol=1e-4)


def test_later_layers_make_good_the_errors_of_earlier_ones():
    model = keras.Sequential(
        [keras.Input((16,)), *[L.Dense(16, activation="relu") for _ in range(3)]]
    )
    x = models.inputs(model, 512)
    expected = model(x)
    roundings = "nearest", "gptq", {"ada_round": {"iterations": 400}}
    nearest, *errors = (
        np.mean(np.square(tfc.quantize_weights(model, 3, x, rounding)(x) - expected))
        for rounding in roundings
    )
    assert max(errors) < 0.85 * nearest


@pytest.mark.parametrize("build", models.ALL, ids=lambda f: f.__name__)
def test_every_kind_of_model_is_rounded(build):
    model = build()
    rounded = tfc.quantize_weights(model, 8, models.inputs(model, 16))
    assert models.difference(model, rounded, models.inputs(model)) < 0.05
    head = rounded.get_layer("head").kernel.numpy()
    assert integer_grid(head)[1].all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bits": 9}, "from 2 to 8"),
        ({"bits": {"conv": 1}}, "from 2 to 8"),
        ({"bits": {"convolution": 4}, "scales": "max"}, "matches no weight"),
        ({"rounding": "up"}, "Unknown rounding 'up'"),
        ({"scales": "median"}, "expected one of max, mse, output_mse"),
        ({"samples": None}, "need samples"),
    ],
)
def test_bad_arguments(arguments, message):
    model = models.sequential()
    with pytest.raises(ValueError, match=message):
        tfc.quantize_weights(model, **{"samples": models.inputs(model), **arguments})
