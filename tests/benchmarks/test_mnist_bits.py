import mnist_bits
import numpy as np
import pytest


@pytest.mark.parametrize("name", list(mnist_bits.HASHED))
def test_hashed_networks_have_the_values_they_may_have(name):
    model, budget = mnist_bits.build_hashed(mnist_bits.HASHED[name])
    assert sum(np.prod(v.shape) for v in model.trainable_variables) == budget
