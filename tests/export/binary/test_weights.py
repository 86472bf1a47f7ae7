import keras
import numpy as np
import pytest

from tfcompress.export.binary.weights import binary_weights

L = keras.layers


def kernel_layer(kernel):
    layer = L.Dense(kernel.shape[1])
    layer.build((None, kernel.shape[0]))
    layer.kernel.assign(kernel)
    return layer


@pytest.mark.parametrize(
    ("column", "planes"),
    [
        ([0.5, -0.5] * 8, 1),
        ([0.5, -0.5, 0, 0] * 4, 2),
        ([0.5, -0.5, 0.25, 0.5] * 4, None),
        ([0.5, -0.5, 0.5], None),  # few weights
        ([1.0] + [0.0] * 15, None),  # few that are not zero
        ([0.0] * 16, None),
    ],
)
def test_binary_weights_are_told_by_their_values(column, planes):
    weights = binary_weights(kernel_layer(np.array(column)[:, None]))
    assert (weights.planes if weights else None) == planes
    if planes:
        np.testing.assert_array_equal(weights.scale, [0.5])
        np.testing.assert_array_equal(weights.signs[0], np.sign(column))
