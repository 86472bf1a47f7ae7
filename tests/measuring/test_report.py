import json

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.core.grid import bits_of_level, integer_grid
from tfcompress.core.macs import macs
from tfcompress.transforms import Uniform


def weighted(values):
    layer = keras.layers.Dense(len(values[0]), use_bias=False, name="d")
    model = keras.Sequential([keras.Input((len(values),)), layer])
    layer.kernel.assign(values)
    return model


def test_numbers_by_hand():
    row = tfc.report(weighted([[0.5, 1.0], [0.0, -1.0], [-0.5, 0.0], [0.0, 0.0]]))[
        "d/kernel"
    ]
    assert row.shape == (4, 2)
    assert row.parameters == row.macs == 8
    assert row.sparsity == 0.5
    assert row.unique_values == 5
    # Both columns are {-1, 0, 1} times a separate scale: 2 bits, and an entropy of
    # the codes: four 0, two 1, two -1.
    assert row.bits == 2
    assert row.entropy == pytest.approx(1.5)


def test_float_weights_have_the_bits_of_their_type():
    row = tfc.report(models.sequential())["conv/kernel"]
    assert row.bits == 32
    assert row.entropy == pytest.approx(np.log2(3 * 3 * 3 * 4))


def binary_network(quantizer):
    """A sign, 3x3, a sign, pooling, flattening, a dense layer; both kernels binary."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            layers.Conv2D(3, 3, padding="same", use_bias=False, name="first"),
            tfc.layers.QuantizedActivation(quantizer),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(5, name="last"),
        ]
    )
    return tfc.compress(model, {".*": "binary"})


def test_binary_macs_and_memory_by_hand():
    model = binary_network("sign")
    for report in (tfc.report(model), tfc.report(tfc.strip(model))):
        first, last = report["first/kernel"], report["last/kernel"]
        assert (first.bits, last.bits) == (1, 1)
        # The first layer reads real numbers: its work is additions.
        assert (first.macs, first.binary_macs) == (4 * 4 * 9 * 2 * 3, 0)
        assert last.macs == last.binary_macs == 2 * 2 * 3 * 5
        assert report.real_macs == first.macs
        # 54 and 60 bits, and a bias of five numbers.
        assert (first.memory_bytes, last.memory_bytes) == (7, 8)
        assert report["last/bias"].memory_bytes == 4 * 5
        assert report.memory_bytes == 7 + 8 + 20
        assert report.float32_bytes == 4 * (54 + 60 + 5)
    assert "476 bytes in float32" in " ".join(str(report).split())


def test_ternary_kernels_are_two_planes_of_bits():
    kernel = np.ones((16, 2), "float32")
    kernel[::2] = -1
    kernel[:3, 1] = 0
    layer = keras.layers.Dense(2, use_bias=False, name="d")
    model = keras.Sequential(
        [keras.Input((16,)), tfc.layers.QuantizedActivation("swish_sign"), layer]
    )
    layer.kernel.assign(kernel)
    row = tfc.report(model)["d/kernel"]
    assert (row.bits, row.memory_bytes, row.binary_macs) == (2, 8, 32)


def test_what_is_not_all_signs_is_not_binary():
    assert tfc.report(binary_network("ternary_sign")).binary_macs == 0
    real = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    assert tfc.report(real).binary_macs == 0
    # One weight per output is a scale, not a grid.
    assert tfc.report(weighted([[0.5, -1.0]]))["d/kernel"].bits == 32
    assert tfc.report(weighted([[0.5], [0.5]]))["d/kernel"].bits == 1


def test_a_shared_layer_must_read_signs_whenever_it_is_called():
    layer = keras.layers.Dense(8, name="shared")
    x = keras.Input((8,))
    y = tfc.layers.QuantizedActivation("sign")(x)
    for z, expected in ((layer(y), 64), (layer(layer(y)), 0)):
        model = tfc.compress(keras.Model(x, z), {".*": "binary"})
        assert tfc.report(model).binary_macs == expected


def test_macs_by_hand():
    model = models.residual()
    rows = tfc.report(model)
    assert rows["conv1/kernel"].macs == 8 * 8 * 3 * 3 * 3 * 6
    separable = [w for w in rows.weights if w.name.startswith("separable") and w.macs]
    assert sum(w.macs for w in separable) == 8 * 8 * (3 * 3 * 6 + 6 * 6)
    assert rows["transposed/kernel"].macs == 8 * 8 * 6 * 6
    assert rows["head/kernel"].macs == 12 * 5
    assert rows.macs == sum(macs(model).values())


def test_macs_of_shared_and_recurrent_layers():
    assert tfc.report(models.nested())["shared/kernel"].macs == 2 * 8 * 8
    lstm = [
        w.macs
        for w in tfc.report(models.recurrent()).weights
        if w.name.startswith("lstm")
    ]
    assert sum(m for m in lstm if m) == 6 * (4 * 20 + 5 * 20)


@pytest.mark.parametrize("tie_weights", [True, False])
def test_looking_up_is_free_and_the_product_with_all_embeddings_is_not(tie_weights):
    table = keras.layers.ReversibleEmbedding(50, 16, tie_weights=tie_weights)
    tokens = keras.Input((6,))
    looked_up = keras.Model(tokens, table(tokens))
    assert tfc.report(looked_up).macs == 0
    logits = keras.Model(tokens, table(looked_up.output, reverse=True))
    assert tfc.report(logits).macs == 6 * 16 * 50
    assert tfc.report(tfc.compress(logits, {".*": "mask"})).macs == 6 * 16 * 50
    halved = tfc.prune_channels(logits, 0.5)
    assert tfc.report(halved).macs == 6 * 8 * 50


def test_published_macs_of_mobilenet_v2():
    model = keras.applications.MobileNetV2(weights=None)
    assert sum(macs(model).values()) == 300_774_272


def test_compressing_does_not_change_macs():
    for build in models.ALL:
        model = build()
        assert (
            tfc.report(tfc.compress(model, {".*": "mask"})).macs
            == tfc.report(model).macs
        )


def test_what_is_skipped_has_a_reason():
    model = tfc.compress(models.sequential(), {".*": Uniform(4)}, skip=["head"])
    report = tfc.report(model)
    assert report["conv/kernel"].transforms == ("Uniform(bits=4)",)
    assert report["conv/kernel"].skipped is None
    assert "skip" in report["head/kernel"].skipped
    assert "names them" in report["norm/gamma"].skipped
    assert all(w.transforms or w.skipped for w in report.weights)


def test_integer_weights_are_listed_with_the_reason():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="d")])
    model.quantize("int8")
    rows = [w for w in tfc.report(model).weights if "int8" in (w.skipped or "")]
    assert [w.name for w in rows] == ["d/kernel"]
    assert rows[0].bits == 8


def test_table_and_json():
    report = tfc.report(tfc.compress(models.sequential(), {".*": "uniform"}))
    text = str(report)
    assert "conv/kernel" in text
    assert f"{report.parameters:,}" in text
    content = json.loads(report.to_json())
    assert content == report.to_dict()
    assert content["totals"]["macs"] == report.macs
    with pytest.raises(KeyError, match="Did you mean 'conv/kernel'"):
        report["conv/kernal"]


def test_integer_grid_is_found_and_not_imagined():
    generator = np.random.default_rng(0)
    codes = generator.integers(-7, 8, (50, 6))
    codes[0] = 7
    scale = generator.random(6) + 0.1
    found, levels = integer_grid((codes * scale).astype(np.float32))
    np.testing.assert_array_equal(levels, 7)
    np.testing.assert_allclose(found, scale, rtol=1e-6)
    _, levels = integer_grid(generator.normal(size=(50, 6)))
    np.testing.assert_array_equal(levels, 0)
    assert [bits_of_level(k) for k in (1, 3, 7, 8, 127)] == [2, 3, 4, 5, 8]


def test_integer_grid_of_zeros():
    scales, levels = integer_grid(np.zeros((4, 2)))
    np.testing.assert_array_equal(scales, 0)
    np.testing.assert_array_equal(levels, 1)
