"""Huffman codes."""

import numpy as np

from tfcompress import native
from tfcompress.coding.bit_pack import pack, unpack
from tfcompress.core.nouns import Codec

MAX_LENGTH = 12


class Huffman(Codec):
    """Writes frequent symbols with fewer bits: canonical Huffman codes.

    Code lengths `l_s` minimize `sum_s count_s l_s` subject to `l_s <= 12`. In canonical
    codes, shorter codes come first and codes of equal length are in the order of their
    symbols, so that a decoder only needs the lengths. Stream: a byte with the number of
    symbols - 1, a nibble with the length of each (0: does not occur), then the codes,
    starting at the highest bit of each byte.

    Source: Huffman (1952), "A Method for the Construction of Minimum-Redundancy Codes";
    for the limit, Larmore and Hirschberg (1990), "A Fast Algorithm for Optimal
    Length-Limited Huffman Codes".

    Example:
        >>> stream = Huffman().encode(np.array([0, 0, 0, 0, 0, 0, 1, 2], np.uint8))
        >>> stream.hex(), Huffman().decode(stream, 8).tolist()
        ('02122002c0', [0, 0, 0, 0, 0, 0, 1, 2])
    """

    # Used in headers of encoded tensors; the same as in `native/coding/decode.h`.
    number = 1

    def encode(self, symbols):
        symbols = np.ravel(symbols)
        counts = np.bincount(symbols, minlength=1)
        lengths = code_lengths(counts)
        header = bytes([len(lengths) - 1]) + pack(lengths, 4)
        return header + write_codes(symbols, lengths)

    def decode(self, stream, count):
        return native.decode("tfc_huffman_decode", stream, count, self.decode_reference)

    def decode_reference(self, stream, count):
        if not stream:
            raise ValueError(f"Cannot decode {count} symbols: corrupt data.")
        num_symbols = stream[0] + 1
        start = 1 + (num_symbols + 1) // 2
        lengths = unpack(stream[1:start], 4, num_symbols)
        return _read_codes(stream[start:], lengths, count)


def code_lengths(counts):
    """Lengths of the best code with at most 12 bits (package-merge).

    Args:
        counts: how often each of at most 256 symbols occurs.

    Returns:
        `uint8` array, 0 for symbols that do not occur; 1 if only one does.

    >>> code_lengths(np.array([5, 2, 1, 0])).tolist()
    [1, 2, 2, 0]
    """
    counts = np.asarray(counts)
    used = np.flatnonzero(counts)
    lengths = np.zeros(len(counts), np.uint8)
    if len(used) <= 1:
        lengths[used] = 1
        return lengths
    order = used[np.argsort(counts[used], kind="stable")]
    coins = [(int(counts[symbol]), (symbol,)) for symbol in order]
    packages = []
    for _ in range(MAX_LENGTH):
        row = sorted(coins + packages, key=lambda coin: coin[0])
        pairs = zip(row[::2], row[1::2], strict=False)
        packages = [(a + b, first + second) for (a, first), (b, second) in pairs]
    chosen = [symbol for _, symbols in packages[: len(used) - 1] for symbol in symbols]
    lengths += np.bincount(chosen, minlength=len(counts)).astype(np.uint8)
    return lengths


def canonical_codes(lengths):
    """The code of each symbol as an integer of `lengths` bits.

    >>> canonical_codes(np.array([2, 1, 2])).tolist()
    [2, 0, 3]
    """
    codes = np.zeros(len(lengths), np.int64)
    code = 0
    for length in range(1, MAX_LENGTH + 1):
        symbols = np.flatnonzero(lengths == length)
        codes[symbols] = code + np.arange(len(symbols))
        code = (code + len(symbols)) << 1
    return codes


def write_codes(symbols, lengths):
    """The codes of symbols one after another, as bytes."""
    table = np.zeros(256, np.uint8)
    table[: len(lengths)] = lengths
    if not native.library():
        return _write_codes_reference(symbols, table)
    num_bits = np.bincount(symbols, minlength=256) @ table.astype(np.int64)
    symbols = np.ascontiguousarray(symbols, np.uint8)
    write = native.library().tfc_huffman_write
    capacity = (int(num_bits) + 7) // 8
    stream, _ = native.encode(write, symbols, symbols.size, table, capacity=capacity)
    return stream.tobytes()


def _write_codes_reference(symbols, lengths):
    codes = canonical_codes(lengths)
    by_bit = (codes[symbols, None] >> np.arange(MAX_LENGTH - 1, -1, -1)) & 1
    is_used = np.arange(MAX_LENGTH - 1, -1, -1) < lengths[symbols, None]
    return np.packbits(by_bit[is_used].astype(np.uint8)).tobytes()


def _read_codes(content, lengths, count):
    """Reads all windows of bits at once, then jumps from code to code."""
    symbols, steps = _window_tables(lengths)
    bits = np.unpackbits(native.as_bytes(content))
    padded = np.pad(bits, (0, MAX_LENGTH)).astype(np.int64)
    windows = np.zeros(len(bits) + 1, np.int64)
    for i in range(MAX_LENGTH):
        windows = windows << 1 | padded[i : i + len(windows)]
    dead_end = len(bits) + 1
    jump = np.arange(len(bits) + 1) + steps[windows]
    jump = np.append(
        np.where(steps[windows] > 0, np.minimum(jump, dead_end), dead_end), dead_end
    )
    places = np.zeros(1, np.int64)
    while len(places) <= count:
        places = np.concatenate([places, jump[places]])
        jump = jump[jump]
    if places[count] == dead_end:
        raise ValueError(f"Cannot decode {count} symbols: corrupt data.")
    return symbols[windows[places[:count]]]


def _window_tables(lengths):
    """For each 12-bit window, the symbol that it starts with, and its length."""
    symbols = np.zeros(1 << MAX_LENGTH, np.uint8)
    steps = np.zeros(1 << MAX_LENGTH, np.int64)
    codes = canonical_codes(lengths)
    for symbol in np.flatnonzero(lengths):
        free = MAX_LENGTH - int(lengths[symbol])
        start, stop = int(codes[symbol]) << free, int(codes[symbol] + 1) << free
        if stop > len(steps):
            raise ValueError("Cannot decode: the code lengths are not a prefix code.")
        symbols[start:stop] = symbol
        steps[start:stop] = lengths[symbol]
    return symbols, steps
