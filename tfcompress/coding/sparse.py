"""Symbols that are mostly equal."""

import numpy as np

from tfcompress import native
from tfcompress.core.kinds import Integer, PlugIn
from tfcompress.core.nouns import Codec


class Bitmap(Codec):
    """Writes one bit per symbol, set if it is not `zero`, then those symbols.

    Args:
        codec: codec for the symbols that are not zero, an object or its name.
        zero: the symbol that is left out, 0 to 255.

    Raises:
        ValueError: if there is no such codec, or `zero` is out of range.

    Example:
        >>> Bitmap().encode(np.array([0, 0, 3, 0, 0, 0, 0, 1], np.uint8)).hex()
        '2102d0'
    """

    def __init__(self, codec: PlugIn(Codec) = "bit_pack", zero: Integer(0, 255) = 0):
        self.codec = codec
        self.zero = zero

    def encode(self, symbols):
        symbols = np.ravel(symbols)
        filled = symbols != self.zero
        return np.packbits(filled).tobytes() + self.codec.encode(symbols[filled])

    def decode(self, stream, count):
        return self._decode(stream, count, self.codec.decode)

    def decode_reference(self, stream, count):
        return self._decode(stream, count, self.codec.decode_reference)

    def _decode(self, stream, count, decode):
        size = (count + 7) // 8
        if len(stream) < size:
            raise ValueError(f"Cannot decode {count} symbols: the stream ends.")
        filled = np.unpackbits(native.as_bytes(stream[:size]), count=count) == 1
        symbols = np.full(count, self.zero, np.uint8)
        symbols[filled] = decode(stream[size:], np.count_nonzero(filled))
        return symbols


class RelativeIndex(Codec):
    """Writes only entries that are not `zero`, each with the number of zeros before it.

    A gap has `gap_bits` bits. If there are more zeros than a gap can represent, an
    entry that is itself zero follows the longest gap: 0 0 0 0 0 7 with `gap_bits=2`
    becomes (gap 3, 0), (gap 1, 7). Stream: the number of entries and the size of the
    stream of gaps (32 bits each), that stream, the stream of entries.

    Args:
        codec: codec for the gaps and the entries, an object or its name.
        zero: the symbol that is left out, 0 to 255.
        gap_bits: 1 to 8; Deep Compression uses 5 for dense and 8 for convolution
            layers. None tries both.

    Raises:
        ValueError: if there is no such codec, or an argument is out of range.

    Source: Han et al., "Deep Compression" (2016), section 2 and figure 2.

    Example:
        >>> codec = RelativeIndex(gap_bits=2)
        >>> codec.entries(np.array([0, 0, 0, 0, 0, 7], np.uint8))
        (array([3, 1], dtype=uint8), array([0, 7], dtype=uint8))
    """

    def __init__(
        self,
        codec: PlugIn(Codec) = "bit_pack",
        zero: Integer(0, 255) = 0,
        gap_bits: Integer(1, 8) = None,
    ):
        self.codec = codec
        self.zero = zero
        self.gap_bits = gap_bits

    def encode(self, symbols):
        widths = [self.gap_bits] if self.gap_bits else [5, 8]
        return min((self._encode(symbols, bits) for bits in widths), key=len)

    def _encode(self, symbols, gap_bits):
        gaps, entries = self.entries(symbols, gap_bits)
        gap_stream = self.codec.encode(gaps)
        sizes = np.array([len(entries), len(gap_stream)], "<u4").tobytes()
        return sizes + gap_stream + self.codec.encode(entries)

    def entries(self, symbols, gap_bits=None):
        """The gaps and the entries of symbols, including padding zeros."""
        longest = 2 ** (gap_bits or self.gap_bits or 8) - 1
        symbols = np.ravel(symbols).astype(np.uint8)
        places = np.flatnonzero(symbols != self.zero)
        gaps, is_padding = relative_index(places, longest)
        entries = np.full(gaps.size, self.zero, np.uint8)
        entries[~is_padding] = symbols[places]
        return gaps.astype(np.uint8), entries

    def decode(self, stream, count):
        return self._decode(stream, count, self.codec.decode)

    def decode_reference(self, stream, count):
        return self._decode(stream, count, self.codec.decode_reference)

    def _decode(self, stream, count, decode):
        if len(stream) < 8:
            raise ValueError(f"Cannot decode {count} symbols: the stream ends.")
        num_entries, size = (int(n) for n in np.frombuffer(stream, "<u4", 2))
        if num_entries > count:
            raise ValueError(f"Cannot decode {count} symbols: {num_entries} entries.")
        gaps = decode(stream[8 : 8 + size], num_entries)
        places = np.cumsum(gaps.astype(np.int64) + 1) - 1
        if num_entries and places[-1] >= count:
            raise ValueError(
                f"Cannot decode {count} symbols: an entry lies after the end."
            )
        symbols = np.full(count, self.zero, np.uint8)
        symbols[places] = decode(stream[8 + size :], num_entries)
        return symbols


def relative_index(places, longest):
    """The gaps before ascending places, none longer than `longest`, and which are padding.

    >>> gaps, is_padding = relative_index(np.array([1, 4, 15]), 7)
    >>> gaps.tolist(), is_padding.tolist()
    ([1, 2, 7, 2], [False, False, True, False])
    """
    gaps = np.diff(places, prepend=-1) - 1
    num_padding = gaps // (longest + 1)
    ends = np.cumsum(num_padding + 1) - 1
    is_padding = np.ones(len(places) + int(num_padding.sum()), bool)
    is_padding[ends] = False
    all_gaps = np.full(is_padding.size, longest)
    all_gaps[ends] = gaps - num_padding * (longest + 1)
    return all_gaps, is_padding
