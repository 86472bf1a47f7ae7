import numpy as np
import pytest

from tests import models
from tfcompress.transforms import PowerOfTwo
from tfcompress.transforms.exponents import leading_power


def nearest(weight, bits, axes):
    """By comparison with every value of the grid."""
    count = 2 ** (bits - 1) - 1
    powers = 2.0 ** np.arange(-40, 40)
    peak = np.abs(weight).max(axis=axes, keepdims=True)
    # The power nearest to the largest magnitude; the larger one in a tie.
    distance = np.abs(powers[::-1] - peak[..., None])
    top = powers[::-1][distance.argmin(axis=-1)]
    grid = top[..., None] * np.concatenate([2.0 ** -np.arange(count), [0.0]])
    distance = np.abs(grid - np.abs(weight)[..., None])
    grid = np.broadcast_to(grid, distance.shape)
    chosen = np.take_along_axis(grid, distance.argmin(axis=-1)[..., None], axis=-1)
    return np.sign(weight) * chosen[..., 0]


def test_by_hand():
    kernel = [[1.0], [-0.8], [0.75], [-0.74], [0.38], [0.3], [0.125], [-0.12]]
    # Three exponents: 1, 0.5, 0.25; below 0.125 comes zero.
    treatment = models.dense_treatment(kernel, PowerOfTwo(3))
    expected = [1.0, -1.0, 1.0, -0.5, 0.5, 0.25, 0.25, 0.0]
    np.testing.assert_array_equal(np.ravel(treatment()), expected)


@pytest.mark.parametrize("bits", [2, 3, 4, 5])
@pytest.mark.parametrize("per_channel", [False, True])
def test_closed_form(bits, per_channel):
    generator = np.random.default_rng(bits)
    kernel = generator.normal(size=(30, 4)) * [0.001, 0.4, 1.0, 700.0]
    kernel = kernel.astype("float32")
    treatment = models.dense_treatment(kernel, PowerOfTwo(bits, per_channel))
    expected = nearest(kernel.astype(np.float64), bits, (0,) if per_channel else (0, 1))
    np.testing.assert_array_equal(treatment(), expected)


def test_gradient_passes_straight_through():
    upstream = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    treatment = models.dense_treatment(upstream * 3, PowerOfTwo())
    np.testing.assert_array_equal(models.gradients(treatment, upstream), upstream)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_rounding_again_changes_nothing_and_zeros_stay(bits):
    kernel = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
    kernel[:, 0] = 0
    kernel[3, 1] = 0
    treatment = models.dense_treatment(kernel, PowerOfTwo(bits, per_channel=True))
    once = treatment.bake()
    assert (once[kernel == 0] == 0).all()
    treatment.variable.assign(once)
    np.testing.assert_array_equal(treatment.bake(), once)


def test_leading_power_is_exact_at_powers_of_two():
    powers = 2.0 ** np.arange(-126, 128).astype("float32")
    np.testing.assert_array_equal(leading_power(powers), powers)
    below = np.nextafter(powers[1:], np.float32(0))
    np.testing.assert_array_equal(leading_power(below), powers[:-1])


@pytest.mark.parametrize("bits", [1, 9, 2.5, "4"])
def test_bits_out_of_range(bits):
    with pytest.raises(ValueError, match="from 2 to 8"):
        PowerOfTwo(bits)
