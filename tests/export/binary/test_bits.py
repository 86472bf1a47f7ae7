import numpy as np
import tensorflow as tf

from tfcompress.export.binary.bits import packed, packed_tensor, unpacked_tensor


def test_bits_are_counted_from_the_lowest():
    negative = np.zeros((2, 33), bool)
    negative[0, [0, 5, 32]] = True
    negative[1, 31] = True
    expected = [[1 + 32, 1], [-(2**31), 0]]
    np.testing.assert_array_equal(packed(negative), expected)
    words = packed_tensor(tf.constant(negative))
    np.testing.assert_array_equal(words, expected)
    np.testing.assert_array_equal(unpacked_tensor(words, 33), 1 - 2.0 * negative)
