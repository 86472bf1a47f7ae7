"""Powers of two inside floating-point numbers."""

import tensorflow as tf

_EXPONENT_BITS = 0x7F800000


def leading_power(values):
    """`2^floor(log2 |x|)`, exactly; 0 for numbers below the normal range of float32.

    A logarithm would be off by one at some powers of two.

    >>> leading_power(np.array([0.75, 1.0, -5.0, 0.0], "float32")).numpy()
    array([0.5, 1. , 4. , 0. ], dtype=float32)
    """
    bits = tf.bitcast(tf.cast(values, tf.float32), tf.int32)
    power = tf.bitcast(tf.bitwise.bitwise_and(bits, _EXPONENT_BITS), tf.float32)
    return tf.cast(power, values.dtype)
