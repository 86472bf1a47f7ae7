import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.coding.sparse import relative_index


def dense(kernel):
    kernel = np.asarray(kernel, np.float32)
    layer = keras.layers.Dense(kernel.shape[1], use_bias=False, name="d")
    layer.build((None, kernel.shape[0]))
    layer.kernel.assign(kernel)
    return keras.Sequential([keras.Input((kernel.shape[0],)), layer])


def test_gaps_as_in_figure_2_of_the_paper():
    # The paper counts distances, here 1, 3, 8, 3: one more than the zeros between.
    gaps, is_padding = relative_index(np.array([0, 3, 14]), 7)
    assert gaps.tolist() == [0, 2, 7, 2]
    assert is_padding.tolist() == [False, False, True, False]
    gaps, is_padding = relative_index(np.array([7, 15, 33]), 7)
    assert gaps.tolist() == [7, 7, 7, 7, 1]
    assert is_padding.tolist() == [False, False, True, True, False]


def test_a_sparse_kernel_by_hand():
    kernel = np.zeros(64)
    # Gaps 1, 4, 4, 4, 4, filler 32, 15: values a a a a b 0 c.
    kernel[[0, 4, 8, 12, 16, 63]] = [1, 1, 1, 1, 2, 3]
    row = tfc.recipes.storage(dense(kernel.reshape(32, 2))).weights[0]
    assert (row.weights, row.kept, row.weight_bits, row.index_bits) == (64, 6, 2, 5)
    # Codes: a 1 bit, one of the others 2, the last two 3.
    assert row.huffman_weight_bits == pytest.approx((4 * 1 + 2 + 3 + 3) / 7)
    # Gaps: 4 four times, 1, 32 and 15 once.
    assert row.huffman_index_bits == pytest.approx((4 * 1 + 2 + 3 + 3) / 7)
    # 7 stored weights of 2 + 5 bits, four float32 values.
    assert row.stored_bytes == 7 + 16
    # 24 bits, the values, and four code lengths each.
    assert row.huffman_bytes == 3 + 16 + 4 + 4


def test_what_sharing_does_not_help_stays_float():
    storage = tfc.recipes.storage(dense(np.arange(1, 9).reshape(4, 2)))
    row = storage.weights[0]
    assert (row.weight_bits, row.index_bits, row.stored_bytes) == (32, 0, 32)
    assert storage.compression_rate == 1.0
    assert storage.to_dict()["weights"][0]["kept"] == 8


def test_all_zeros():
    row = tfc.recipes.storage(dense(np.zeros((4, 2)))).weights[0]
    assert (row.kept, row.stored_bytes) == (0, 0)
    assert "d/kernel" in str(tfc.recipes.storage(dense(np.zeros((4, 2)))))


@pytest.mark.parametrize("bits", [0, 17, 5.0])
def test_bad_index_bits(bits):
    with pytest.raises(ValueError, match="from 1 to 16"):
        tfc.recipes.storage(dense(np.ones((2, 2))), dense_index_bits=bits)
