"""Two 4-bit integers in a byte, the first one in the low half, as in TFLite."""

import numpy as np


def pack_nibbles(values):
    """Integers from -8 to 7, or from 0 to 15, as bytes; an unused last half is zero.

    >>> pack_nibbles([1, -1, 7]).tobytes().hex()
    'f107'
    """
    flat = np.ravel(values).astype(np.int8).view(np.uint8) & 15
    flat = np.pad(flat, (0, flat.size % 2))
    return flat[0::2] | flat[1::2] << 4


def unpack_nibbles(packed, count):
    """The first `count` packed integers, from -8 to 7.

    >>> unpack_nibbles(bytes.fromhex("f107"), 3)
    array([ 1, -1,  7], dtype=int8)
    """
    octets = np.frombuffer(packed, np.uint8)
    pairs = np.stack([octets << 4, octets & 0xF0], axis=-1).view(np.int8) >> 4
    return pairs.ravel()[:count]
