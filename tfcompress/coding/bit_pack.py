"""Symbols with equally many bits."""

import numpy as np

from tfcompress import native
from tfcompress.core.nouns import Codec


class BitPack(Codec):
    """Writes every symbol with as many bits as the largest one needs.

    `b = max(1, ceil(log2(max symbol + 1)))` bits per symbol, starting at the highest
    bit of each byte. Stream: a byte with `b`, then `ceil(count b / 8)` bytes.

    Example:
        >>> BitPack().encode(np.array([1, 2, 3], np.uint8)).hex()
        '026c'
    """

    # Used in headers of encoded tensors; the same as in `native/coding/decode.h`.
    number = 0

    def encode(self, symbols):
        bits = bits_for(symbols)
        return bytes([bits]) + pack(symbols, bits)

    def decode(self, stream, count):
        return native.decode(
            "tfc_bit_pack_decode", stream, count, self.decode_reference
        )

    def decode_reference(self, stream, count):
        if not stream or not 1 <= stream[0] <= 8:
            raise ValueError(f"Cannot decode {count} symbols: corrupt data.")
        return unpack(stream[1:], stream[0], count)


def bits_for(symbols):
    """The number of bits that the largest symbol needs, at least 1."""
    return max(1, int(np.max(symbols, initial=0)).bit_length())


def pack(symbols, bits):
    """Symbols with `bits` bits each, as bytes."""
    by_bit = np.unpackbits(np.ravel(symbols).astype(np.uint8)[:, None], axis=1)
    return np.packbits(by_bit[:, 8 - bits :]).tobytes()


def unpack(content, bits, count):
    """The first `count` symbols with `bits` bits each.

    Raises:
        ValueError: if there are fewer symbols.
    """
    if len(content) * 8 < count * bits:
        raise ValueError(
            f"Cannot decode {count} symbols of {bits} bits: there are only "
            f"{len(content)} bytes."
        )
    by_bit = np.unpackbits(native.as_bytes(content), count=count * bits)
    padded = np.pad(by_bit.reshape(count, bits), ((0, 0), (8 - bits, 0)))
    return np.packbits(padded, axis=1)[:, 0]
