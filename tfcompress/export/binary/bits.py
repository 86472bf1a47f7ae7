"""Signs as bits: 32 values per word; a set bit is -1 and a clear bit +1."""

import numpy as np
import tensorflow as tf

WORD = 32
# The value of each bit of a signed 32-bit word.
_PLACES = np.left_shift(np.uint32(1), np.arange(WORD, dtype=np.uint32)).view(np.int32)


def num_words(channels):
    """The number of words that hold this many values.

    >>> num_words(1), num_words(32), num_words(33)
    (1, 1, 2)
    """
    return -(-channels // WORD)


def packed(is_negative):
    """Packs the last axis into bits, `(..., channels)` to int32 `(..., words)`.

    Value `c` is bit `c % 32` of word `c // 32`, counted from the lowest; bits after the
    last value are clear.

    Args:
        is_negative: boolean array, True for -1.

    >>> packed(np.array([True, False, True]))
    array([5], dtype=int32)
    """
    is_negative = np.asarray(is_negative, bool)
    missing = -is_negative.shape[-1] % WORD
    padding = [(0, 0)] * (is_negative.ndim - 1) + [(0, missing)]
    octets = np.packbits(np.pad(is_negative, padding), axis=-1, bitorder="little")
    return np.ascontiguousarray(octets).view("<i4").astype(np.int32)


def packed_tensor(is_negative):
    """`packed` for a boolean tensor."""
    missing = -is_negative.shape[-1] % WORD
    padding = [(0, 0)] * (is_negative.shape.rank - 1) + [(0, missing)]
    bits = tf.cast(tf.pad(is_negative, padding), tf.int32)
    words = split_last(bits, WORD)
    return tf.reduce_sum(words * _PLACES, axis=-1)


def unpacked_tensor(words, channels):
    """The values `(..., channels)`, -1.0 and 1.0, of int32 `(..., words)`."""
    bits = tf.bitwise.right_shift(words[..., tf.newaxis], tf.range(WORD))
    bits = merge_last(tf.bitwise.bitwise_and(bits, 1))
    return 1.0 - 2.0 * tf.cast(bits[..., :channels], tf.float32)


def merge_last(tensor):
    """The last two axes as one."""
    size = tensor.shape[-2] * tensor.shape[-1]
    return tf.reshape(tensor, tf.concat([tf.shape(tensor)[:-2], [size]], 0))


def split_last(tensor, size):
    """The last axis as rows of `size`."""
    rows = tensor.shape[-1] // size
    return tf.reshape(tensor, tf.concat([tf.shape(tensor)[:-1], [rows, size]], 0))
