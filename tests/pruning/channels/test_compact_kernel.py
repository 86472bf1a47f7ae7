import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models

L = keras.layers


def with_zeros(layer, rows, columns, shape=(11, 12, 3)):
    """A one-layer model whose kernel has only these nonzero rows and columns."""
    x = keras.Input(shape)
    model = keras.Model(x, layer(x))
    keep = np.zeros(layer.kernel.shape)
    keep[np.ix_(rows, columns)] = 1.0
    layer.kernel.assign(np.random.default_rng(0).normal(size=keep.shape) * keep)
    if layer.use_bias:
        layer.bias.assign(np.arange(layer.bias.shape[0]))
    return model


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize(
    ("rows", "columns", "size"),
    [
        ([1, 2, 3], [1, 2, 3], (3, 3)),
        ([2], [2], (1, 1)),
        ([0], [4], (1, 1)),
        ([0, 2, 4], [1, 3], (3, 2)),
        ([3, 4], [0, 1, 2, 3], (2, 4)),
    ],
)
@pytest.mark.parametrize("kind", [L.Conv2D, L.DepthwiseConv2D])
def test_outputs_stay(kind, rows, columns, size, strides, padding):
    arguments = {"kernel_size": 5, "strides": strides, "padding": padding}
    layer = L.Conv2D(4, **arguments) if kind is L.Conv2D else kind(**arguments)
    model = with_zeros(layer, rows, columns)
    small = tfc.rewrites.apply(model, "compact_kernel")
    x = models.inputs(model)
    np.testing.assert_allclose(small(x), model(x), atol=1e-5)
    kernel = small.get_layer(layer.name).kernel.shape[:2]
    if strides == 1:
        assert tuple(kernel) == size
    assert np.prod(kernel) < 25


def test_dilated_kernels_are_dilated_further():
    layer = L.Conv2D(4, 3, dilation_rate=2, padding="same")
    model = with_zeros(layer, [0, 2], [0, 2])
    small = tfc.rewrites.apply(model, "compact_kernel")
    x = models.inputs(model)
    np.testing.assert_allclose(small(x), model(x), atol=1e-5)
    assert small.layers[-1].dilation_rate == (4, 4)


def test_a_centred_kernel_needs_no_padding_layer():
    model = with_zeros(L.Conv2D(4, 5, padding="same"), [1, 2, 3], [1, 2, 3])
    small = tfc.rewrites.apply(model, "compact_kernel")
    assert [type(a).__name__ for a in small.layers] == ["InputLayer", "Conv2D"]


@pytest.mark.parametrize("rows", [[0, 1, 2], []])
def test_full_and_empty_kernels_are_left_alone(rows):
    model = with_zeros(L.Conv2D(4, 3), rows, rows)
    assert (
        tfc.rewrites.apply(model, "compact_kernel").count_params() == 3 * 3 * 3 * 4 + 4
    )
