"""Asymmetric numeral systems with fixed tables."""

import numpy as np

from tfcompress import native
from tfcompress.coding.bit_pack import pack, unpack
from tfcompress.core.nouns import Codec

SCALE_BITS = 12
SCALE = 1 << SCALE_BITS
_LOWEST_STATE = 1 << 16
_NUM_LANES = 8
_MIN_COUNT_FOR_LANES = 4096
_NUM_TABLES = (1, 2, 4, 8, 16)
_MAX_ROWS = 4096
_NUM_ROUNDS = 8


class Rans(Codec):
    """Writes a symbol of frequency `f` with `log2(4096 / f)` bits, including fractions.

    A state `x` in `[2^16, 2^32)` absorbs symbol `s`, with frequency `f_s` after
    frequencies that sum to `c_s`, by

        x <- 2^12 floor(x / f_s) + c_s + x mod f_s

    after its low 16 bits are written out if it would become too large; decoding is the
    inverse, from the last symbol to the first. From 4096 symbols on, eight states
    alternate along a row, which decodes faster.

    Rows of a matrix, such as the weights of one neuron each, often have different
    distributions: similar ones share a table, up to 16 tables in total, chosen by
    k-means with the coded size of a row as distance, and kept only if the whole stream
    becomes smaller.

    Source: Duda (2013), "Asymmetric Numeral Systems", arXiv 1311.2540; for the lanes,
    Giesen (2014), "Interleaved Entropy Coders", arXiv 1402.3392.

    Example:
        >>> symbols = np.repeat(np.arange(4, dtype=np.uint8), (4000, 60, 30, 10))
        >>> stream = Rans().encode(symbols)
        >>> len(stream), len(tfc.coding.Huffman().encode(symbols))
        (135, 533)
        >>> np.array_equal(Rans().decode(stream, symbols.size), symbols)
        True
    """

    # Used in headers of encoded tensors; the same as in `native/coding/decode.h`.
    number = 2

    def encode(self, symbols):
        symbols = np.ascontiguousarray(symbols, np.uint8)
        if not symbols.size:
            return b""
        row_length = _row_length(symbols.shape)
        symbols = symbols.ravel()
        counts = _counts_by_row(symbols, row_length)
        options = [_shared_tables(counts, n) for n in _NUM_TABLES if n <= len(counts)]
        headers = [_header(symbols, row_length, *option) for option in options]
        bits = [_num_bits(counts, *option) for option in options]
        sizes = [len(h) + b / 8 for h, b in zip(headers, bits, strict=True)]
        best = int(np.argmin(sizes))
        write = native.require("Writing rANS streams").tfc_rans_write
        capacity = int(bits[best] / 8 * 1.01) + 256
        row_tables, frequencies = options[best]
        if len(frequencies) == 1:
            row_length = symbols.size
        buffer, size = native.encode(
            write,
            symbols,
            symbols.size,
            row_length,
            _num_lanes(symbols.size),
            row_tables.astype(np.uint8),
            frequencies.astype(np.uint16),
            capacity=capacity,
        )
        return headers[best] + buffer[capacity - size :].tobytes()

    def decode(self, stream, count):
        return native.decode("tfc_rans_decode", stream, count, self.decode_reference)

    def decode_reference(self, stream, count):
        if not count:
            return np.zeros(0, np.uint8)
        try:
            return _decode(stream, count)
        except (IndexError, ZeroDivisionError):
            raise ValueError(
                f"Cannot decode {count} symbols: the stream ends."
            ) from None


def _row_length(shape):
    """The size of a row; rows are joined if there are very many."""
    num_rows = shape[0] if len(shape) > 1 else 1
    length = int(np.prod(shape)) // num_rows
    return length * -(-num_rows // _MAX_ROWS)


def _num_lanes(count):
    return _NUM_LANES if count >= _MIN_COUNT_FOR_LANES else 1


def _counts_by_row(symbols, row_length):
    starts = range(0, symbols.size, row_length)
    rows = [np.bincount(symbols[i : i + row_length], minlength=256) for i in starts]
    return np.stack(rows).astype(np.float64)


def _shared_tables(counts, num_tables):
    """The table of each row and the frequencies of each table, by k-means."""
    symbols = np.arange(256)
    center = np.average(symbols, weights=counts.sum(axis=0))
    spread = counts @ np.abs(symbols - center) / counts.sum(axis=1)
    row_tables = (
        np.argsort(np.argsort(spread, kind="stable")) * num_tables // len(counts)
    )
    for _ in range(_NUM_ROUNDS if num_tables > 1 else 0):
        totals = _sums(counts, row_tables, num_tables) + 1 / 16
        bits = -np.log2(totals / totals.sum(axis=1, keepdims=True))
        row_tables = np.argmin(counts @ bits.T, axis=1)
    used, row_tables = np.unique(row_tables, return_inverse=True)
    totals = _sums(counts, row_tables, len(used))
    return row_tables, np.stack([frequencies_of(total) for total in totals])


def _sums(counts, row_tables, num_tables):
    return (row_tables == np.arange(num_tables)[:, None]).astype(np.float64) @ counts


def frequencies_of(counts):
    """Integer frequencies that sum to 4096, at least 1 for each symbol that occurs.

    Rounded so that the symbols take the fewest bits, `-sum_s count_s log2 f_s`.

    >>> frequencies_of(np.array([3, 0, 1])).tolist()
    [3072, 0, 1024]
    """
    counts = np.asarray(counts, np.float64)
    frequencies = np.floor(counts * (SCALE / counts.sum())).astype(np.int64)
    frequencies[(counts > 0) & (frequencies == 0)] = 1
    while (missing := SCALE - int(frequencies.sum())) != 0:
        step = 1 if missing > 0 else -1
        with np.errstate(divide="ignore", invalid="ignore"):
            change = counts * np.log2(frequencies / (frequencies + step))
        change[(counts == 0) | (frequencies + step < 1)] = np.inf
        frequencies[np.argmin(change)] += step
    return frequencies


def _num_bits(counts, row_tables, frequencies):
    bits = SCALE_BITS - np.log2(np.maximum(frequencies, 1))
    return float(np.sum(counts * bits[row_tables]))


def _header(symbols, row_length, row_tables, frequencies):
    num_symbols = int(symbols.max()) + 1
    lanes = _num_lanes(symbols.size) > 1
    header = bytes([lanes | (len(frequencies) - 1) << 1, num_symbols - 1])
    if len(frequencies) > 1:
        header += row_length.to_bytes(4, "little") + pack(row_tables, 4)
    return header + _pack_frequencies(frequencies[:, :num_symbols])


def _pack_frequencies(frequencies):
    """Four bits with the bit length of each, then the bits below its highest."""
    bits = "".join(
        f"{value.bit_length():04b}" + f"{value:b}"[1:]
        for value in np.ravel(frequencies).tolist()
    )
    return np.packbits(np.array(list(bits), np.uint8)).tobytes()


def _unpack_frequencies(bits, num_tables, num_symbols):
    """The inverse, and the number of bits read; `bits` is a string."""
    values, place = [], 0
    for _ in range(num_tables * num_symbols):
        length = int(bits[place : place + 4], 2)
        rest = bits[place + 4 : place + 3 + length] if length else ""
        values.append(int("1" + rest, 2) if length else 0)
        place += 4 + max(length - 1, 0)
    return np.reshape(values, (num_tables, num_symbols)), place


def _decode(stream, count):
    """Decodes all lanes at once, round after round."""
    num_lanes = _NUM_LANES if stream[0] & 1 else 1
    num_tables, num_symbols = (stream[0] >> 1) + 1, stream[1] + 1
    row_length, row_tables, start = count, np.zeros(1, np.uint8), 2
    if num_tables > 1:
        row_length = int.from_bytes(stream[2:6], "little")
        num_rows = -(-count // row_length)
        row_tables = unpack(stream[6:], 4, num_rows)
        start = 6 + (num_rows + 1) // 2
    longest = num_tables * num_symbols * 2
    bits = np.unpackbits(native.as_bytes(stream[start : start + longest]))
    frequencies, num_bits = _unpack_frequencies(
        "".join(map(str, bits)), num_tables, num_symbols
    )
    if (frequencies.sum(axis=1) != SCALE).any():
        raise ValueError("Cannot decode: the frequencies do not sum to 4096.")
    start += (num_bits + 7) // 8
    states = np.frombuffer(stream, "<u4", num_lanes, start).astype(np.int64)
    words = np.frombuffer(stream[start + 4 * num_lanes :], "<u2").astype(np.int64)
    firsts = np.cumsum(frequencies, axis=1) - frequencies
    slots = np.stack([np.repeat(np.arange(num_symbols), f) for f in frequencies])
    symbols, place = np.empty(count, np.uint8), 0
    for begin in range(0, count, row_length):
        table = row_tables[begin // row_length]
        for i in range(begin, min(begin + row_length, count), num_lanes):
            width = min(num_lanes, begin + row_length - i, count - i)
            x = states[:width]
            slot = x % SCALE
            symbol = slots[table][slot]
            x = frequencies[table][symbol] * (x // SCALE) + slot - firsts[table][symbol]
            low = np.flatnonzero(x < _LOWEST_STATE)
            x[low] = x[low] * 65536 + words[place + np.arange(len(low))]
            states[:width], symbols[i : i + width] = x, symbol
            place += len(low)
    if place != len(words) or (states != _LOWEST_STATE).any():
        raise ValueError(f"Cannot decode {count} symbols: corrupt data.")
    return symbols
