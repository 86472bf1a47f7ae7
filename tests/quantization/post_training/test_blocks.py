"""Steps of blocks of inputs, and scaled inputs."""

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.core.grid import block_grid
from tfcompress.quantization.post_training import scale_inputs
from tfcompress.quantization.post_training.scales import block_scales, channel_scales

L = keras.layers


def small_language_model():
    """Tokens to logits, with a few channels that are far larger than the others."""
    generator = np.random.default_rng(0)
    ids = keras.Input((6,), dtype="int32")
    y = L.Embedding(50, 64, name="embedding")(ids)
    y = L.LayerNormalization(name="norm")(y)
    y = L.Dense(128, activation="relu", name="up")(y)
    y = L.EinsumDense("abc,cd->abd", (None, 64), bias_axes="d", name="down")(y)
    model = keras.Model(ids, L.Dense(32, name="head")(L.RMSNormalization()(y)))
    gain = np.ones(64)
    gain[::9] = 25.0
    model.get_layer("norm").gamma.assign(gain)
    return model, generator.integers(0, 50, (64, 6)).astype("int32")


def error(model, other, x):
    return float(np.mean(np.square(model(x) - other(x))) / np.var(model(x)))


def test_block_scales_with_moments_by_hand():
    # Only the first input of each block matters, so its weight gets a level of its own.
    weight = np.array([0.65, 1.4, 1.4, 0.65]).reshape(1, 4, 1)
    moments = np.diag([1.0, 0.0, 0.0, 1.0])[None]
    scale = block_scales(weight, 7, 2, "output_mse", moments)
    assert scale.shape == (1, 4, 1)
    assert scale[0, 0] == scale[0, 1]
    assert scale[0, 2] == scale[0, 3]
    steps = 0.65 / scale[0, 0, 0]
    assert abs(steps - np.rint(steps)) < 0.05
    # Without moments, each block is a channel of its own.
    np.testing.assert_allclose(
        block_scales(weight, 7, 2, "mse")[0, ::2, 0],
        channel_scales(weight.reshape(2, 2, 1), 7, "mse")[:, 0, 0],
        rtol=2**-8,
    )


# Blocks have smaller errors than channels; GPTQ makes up for either, and halves them.
@pytest.mark.parametrize(
    ("rounding", "worse", "share"),
    [("nearest", None, 0.95), ("gptq", 32, 0.6)],
)
def test_files_hold_the_rounded_weights(rounding, worse, share, tmp_path):
    model, x = small_language_model()
    rounded = tfc.quantize_weights(model, {".*": 4}, x, rounding, block_size=32)
    for name in ("up", "down", "head"):
        grid = block_grid(rounded.get_layer(name).kernel.numpy().T, 32, -7, 7)
        assert not grid.offsets.any()
    assert block_grid(rounded.get_layer("embedding").embeddings.numpy(), 32) is not None
    result = tfc.export_tflite(
        rounded, tmp_path / "m.tflite", "dynamic_int4", samples=x
    )
    # Only the inputs of dense layers are rounded, to 8 bits.
    assert max(result.noise.values()) < 0.03
    assert result.notes == ()
    other = tfc.quantize_weights(model, {".*": 4}, x, "nearest", block_size=worse)
    assert error(model, rounded, x) < share * error(model, other, x)


def test_an_integer_leaves_8_bits_to_embeddings():
    model, x = small_language_model()
    rounded = tfc.quantize_weights(model, 4, x)
    old, new = (m.get_layer("embedding").embeddings.numpy() for m in (model, rounded))
    step = np.abs(old).max(axis=1, keepdims=True) / 127
    assert np.abs(new - old).max() > 0
    assert np.all(np.abs(new - old) <= 0.5001 * step)


@pytest.mark.parametrize(
    ("bits", "block_size", "message"),
    [
        (4, 256, "block_size=256 does not suit 'up'.*64 inputs.*'head'"),
        ({"up": 4}, 128, r"'up' \(Dense, 64 inputs\)"),
        (8, 32, "needs kernels with 2 to 4 bits"),
        (4, 48, "block_size"),
    ],
)
def test_blocks_that_no_kernel_reads(bits, block_size, message):
    model, x = small_language_model()
    with pytest.raises((ValueError, TypeError), match=message):
        tfc.quantize_weights(model, bits, x, block_size=block_size)


def test_convolutions_have_no_blocks():
    model = models.sequential()
    x = models.inputs(model, 8)
    with pytest.raises(ValueError, match="Conv2D"):
        tfc.quantize_weights(model, 4, x, block_size=32)


def test_scaled_inputs_by_hand():
    """Two inputs, of which the second one is 16 times as large."""
    model = keras.Sequential(
        [keras.Input((2,)), L.RMSNormalization(name="norm"), L.Dense(1, name="dense")]
    )
    model.get_layer("norm").scale.assign([1.0, 16.0])
    model.get_layer("dense").kernel.assign([[7.0], [0.4]])
    x = np.array([[1.0, 1.0], [1.0, -1.0]], "float32")
    scaled = scale_inputs(model, x)
    before, after = (m.get_layer("dense").kernel.numpy() for m in (model, scaled))
    # s = m^α / sqrt(max m^α min m^α) = (16^(-α / 2), 16^(α / 2)); at 4 bits, 0.4 of a
    # step is lost, unless α makes both weights whole numbers of steps.
    ratio = (after / before).ravel()
    np.testing.assert_allclose(ratio[0] * ratio[1], 1.0, rtol=1e-5)
    assert ratio[1] > 1
    gain = scaled.get_layer("norm").scale.numpy()
    np.testing.assert_allclose(gain * ratio, [1.0, 16.0], rtol=1e-5)
    np.testing.assert_allclose(scaled(x), model(x), rtol=1e-5)
    step = np.abs(after).max() / 7
    lost = np.abs(after - np.rint(after / step) * step) / ratio[:, None]
    assert lost[1, 0] * 16 < 0.4 * 16 / 2


def test_scaled_inputs_round_better_and_stay_equal():
    generator = np.random.default_rng(0)
    model = keras.Sequential(
        [keras.Input((64,)), L.LayerNormalization(name="norm"), L.Dense(32)]
    )
    gain = np.ones(64)
    gain[[5, 40]] = 25.0
    model.get_layer("norm").gamma.assign(gain)
    x = generator.normal(size=(256, 64)).astype("float32")
    for block_size in (None, 32):
        scaled = scale_inputs(model, x, block_size=block_size)
        assert error(model, scaled, x) < 1e-9
        arguments = {"scales": "max", "correct_bias": False, "block_size": block_size}
        plain, better = (
            tfc.quantize_weights(m, 4, x, **arguments) for m in (model, scaled)
        )
        assert error(model, better, x) < 0.6 * error(model, plain, x)


def test_layers_that_read_no_normalization_are_named():
    model, x = small_language_model()
    model = keras.Model(model.input, model.get_layer("down").output)
    scaled = scale_inputs(model, x)
    assert error(model, scaled, x) < 1e-9
    ratio = scaled.get_layer("down").kernel.numpy() / model.get_layer("down").kernel
    assert np.ptp(ratio) > 0.1
    alone = keras.Sequential([keras.Input((4,)), L.Dense(2)])
    with pytest.warns(UserWarning, match="scale_inputs left 1 layer unchanged"):
        scale_inputs(alone, np.ones((2, 4), "float32"))
