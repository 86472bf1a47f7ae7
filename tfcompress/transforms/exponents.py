"""Powers of two inside floating-point numbers."""

import keras

_MANTISSA_BITS = 23


def leading_power(values):
    """`2^floor(log2 |x|)`, exactly; 0 for numbers below the normal range of float32.

    A logarithm would be off by one at some powers of two. All operations exist in TFLite.

    >>> leading_power(np.array([0.75, 1.0, -5.0, 0.0], "float32")).numpy()
    array([0.5, 1. , 4. , 0. ], dtype=float32)
    """
    single = keras.ops.cast(keras.ops.abs(values), "float32")
    exponent = keras.ops.right_shift(keras.ops.view(single, "int32"), _MANTISSA_BITS)
    power = keras.ops.view(exponent * 2**_MANTISSA_BITS, "float32")
    return keras.ops.cast(power, values.dtype)
