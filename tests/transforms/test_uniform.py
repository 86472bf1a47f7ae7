import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.core.compressed import treatments
from tfcompress.transforms import Codebook, Uniform


def symmetric(weight, bits, axes):
    levels = 2 ** (bits - 1) - 1
    scale = np.abs(weight).max(axis=axes, keepdims=True) / levels
    return np.rint(weight / scale) * scale


def affine(weight, bits, axes):
    levels = 2**bits - 1
    low = np.minimum(weight.min(axis=axes, keepdims=True), 0)
    high = np.maximum(weight.max(axis=axes, keepdims=True), 0)
    scale = (high - low) / levels
    zero = np.rint(-low / scale)
    return scale * (np.clip(np.rint(weight / scale) + zero, 0, levels) - zero)


def treated(layer, transform, shape):
    model = keras.Sequential([keras.Input(shape), layer])
    return treatments(tfc.compress(model, {".*": transform}))[0][1]


@pytest.mark.parametrize("bits", [2, 3, 4, 8, 12, 16])
@pytest.mark.parametrize("formula", [symmetric, affine])
@pytest.mark.parametrize(
    ("layer", "shape", "axes"),
    [
        (lambda: keras.layers.Dense(5), (7,), (0,)),
        (lambda: keras.layers.Conv2D(5, 3), (8, 8, 2), (0, 1, 2)),
        (
            lambda: keras.layers.DepthwiseConv2D(3, depth_multiplier=2),
            (8, 8, 3),
            (0, 1),
        ),
        (lambda: keras.layers.Conv2DTranspose(5, 3), (8, 8, 2), (0, 1, 3)),
    ],
)
def test_closed_form_per_channel(bits, formula, layer, shape, axes):
    treatment = treated(layer(), Uniform(bits, symmetric=formula is symmetric), shape)
    expected = formula(treatment.variable.numpy().astype(np.float64), bits, axes)
    np.testing.assert_allclose(treatment(), expected, atol=2e-5 / 2**bits + 1e-6)


def test_per_tensor_has_one_scale():
    treatment = treated(keras.layers.Dense(9), Uniform(3, per_channel=False), (20,))
    value = treatment.bake()
    assert len(np.unique(np.round(value, 6))) <= 7
    np.testing.assert_allclose(
        value, symmetric(treatment.variable.numpy(), 3, (0, 1)), atol=1e-6
    )


def test_gradient_passes_straight_through():
    treatment = treated(keras.layers.Dense(4), Uniform(2), (6,))
    upstream = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(treatment() * upstream)
    gradient = tape.gradient(loss, treatment.variable.value)
    np.testing.assert_array_equal(gradient, upstream)


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_zeros_stay_zeros_and_an_empty_channel_is_no_nan(is_symmetric):
    treatment = treated(keras.layers.Dense(3), Uniform(4, symmetric=is_symmetric), (6,))
    kernel = treatment.variable.numpy()
    kernel[:, 0] = 0
    kernel[2, 1] = 0
    treatment.variable.assign(kernel)
    value = treatment.bake()
    assert (value[:, 0] == 0).all()
    assert value[2, 1] == 0


def test_rounding_again_changes_nothing():
    treatment = treated(keras.layers.Dense(5), Uniform(4), (9,))
    once = treatment.bake()
    treatment.variable.assign(once)
    np.testing.assert_array_equal(treatment.bake(), once)


def test_one_bit_by_hand():
    kernel = [[1.0, 0.5], [-3.0, 0.0], [-2.0, -1.5]]
    value = models.dense_treatment(kernel, Uniform(1))()
    np.testing.assert_array_equal(value, [[2.0, 1.0], [-2.0, 0.0], [-2.0, -1.0]])
    # s = 4 and 2, z = 1; -2 / 4 is a tie, which goes to even.
    value = models.dense_treatment(kernel, Uniform(1, symmetric=False))()
    np.testing.assert_array_equal(value, [[0.0, 0.0], [-4.0, 0.0], [0.0, -2.0]])


def test_one_bit_is_the_closest_of_two_values():
    kernel = np.random.default_rng(0).normal(size=(200, 1))

    def error(scale):
        return np.square(kernel - scale * np.sign(kernel)).sum()

    scale = np.abs(models.dense_treatment(kernel, Uniform(1))()).max()
    assert error(scale) <= min(error(scale * f) for f in (0.99, 1.01))


def test_blocks_by_hand():
    kernel = [[1.0], [0.4], [0.1], [-0.03], [7.0]]
    value = models.dense_treatment(kernel, Uniform(2, block_size=2))()
    np.testing.assert_allclose(value, [[1.0], [0.0], [0.1], [0.0], [7.0]])


@pytest.mark.parametrize("formula", [symmetric, affine])
@pytest.mark.parametrize("block_size", [1, 3, 4, 1000])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: keras.layers.Dense(5), (7,)),
        (lambda: keras.layers.Conv2D(5, 3), (8, 8, 2)),
        (lambda: keras.layers.DepthwiseConv2D(3, depth_multiplier=2), (8, 8, 3)),
        (lambda: keras.layers.Conv2DTranspose(5, 3), (8, 8, 2)),
    ],
)
def test_blocks_closed_form(formula, block_size, layer, shape):
    transform = Uniform(4, symmetric=formula is symmetric, block_size=block_size)
    treatment = treated(layer(), transform, shape)
    layout = treatment.ref.layout
    kernel = treatment.variable.numpy().astype(np.float64)
    matrix = layout.to_canonical(kernel).reshape(-1, layout.num_outputs)
    starts = range(0, len(matrix), block_size)
    blocks = [formula(matrix[i : i + block_size], 4, (0,)) for i in starts]
    expected = np.concatenate(blocks).reshape(layout.canonical_shape)
    np.testing.assert_allclose(treatment(), layout.from_canonical(expected), atol=1e-6)
    upstream = np.random.default_rng(0).normal(size=kernel.shape).astype("float32")
    np.testing.assert_array_equal(models.gradients(treatment, upstream), upstream)


def test_blocks_do_not_separate_what_is_shared():
    kernel = np.random.default_rng(0).normal(size=(32, 4))
    value = models.dense_treatment(kernel, Codebook(8), Uniform(6, block_size=4)).bake()
    assert len(np.unique(value)) <= 8


@pytest.mark.parametrize("bits", [0, 17, 2.5, "8"])
def test_bits_out_of_range(bits):
    with pytest.raises(ValueError, match="from 1 to 16"):
        Uniform(bits)


@pytest.mark.parametrize("size", [0, -1, 1.5])
def test_block_size_out_of_range(size):
    with pytest.raises(ValueError, match="positive integer"):
        Uniform(block_size=size)


def test_blocks_of_a_whole_tensor():
    with pytest.raises(ValueError, match="Keep per_channel=True"):
        Uniform(per_channel=False, block_size=4)
