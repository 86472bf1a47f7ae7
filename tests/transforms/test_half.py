import numpy as np
import pytest
import tensorflow as tf

from tests import models
from tfcompress.transforms import BFloat16, Half


def by_integers(values):
    """bfloat16 as the upper half of float32, rounded to the nearest, ties to even."""
    bits = np.asarray(values, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return rounded.astype(np.uint32).view(np.float32)


def by_numpy(values):
    return np.asarray(values, np.float32).astype(np.float16).astype(np.float32)


BOTH = pytest.mark.parametrize(
    ("transform", "rounded"), [(Half(), by_numpy), (BFloat16(), by_integers)]
)


@BOTH
@pytest.mark.parametrize("jit", [False, True])
def test_closed_form(transform, rounded, jit):
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(200, 3)) * [1e-3, 1.0, 100.0]
    # Ties, which go to even.
    kernel[:4, 1] = [1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-8, 1 + 3 * 2**-8]
    treatment = models.dense_treatment(kernel, transform)
    value = tf.function(treatment, jit_compile=jit)().numpy()
    np.testing.assert_array_equal(value, rounded(kernel))
    np.testing.assert_array_equal(treatment.bake(), rounded(kernel))
    assert (value != kernel.astype("float32")).any()
    upstream = generator.normal(size=kernel.shape).astype("float32")
    np.testing.assert_array_equal(models.gradients(treatment, upstream), upstream)


@BOTH
def test_the_largest_stay_finite_and_zeros_zero(transform, rounded):
    treatment = models.dense_treatment([[3.4e38], [-3.4e38], [0.0]], transform)
    value = np.ravel(treatment())
    largest = float(transform.dtype.max)
    np.testing.assert_array_equal(value, [largest, -largest, 0.0])
