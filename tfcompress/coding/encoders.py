"""Encodes constants of a model."""

import numpy as np

from tfcompress.coding import wire
from tfcompress.coding.adaptive_rans import AdaptiveRans
from tfcompress.coding.bit_pack import BitPack, bits_for, pack
from tfcompress.coding.huffman import (
    Huffman,
    canonical_codes,
    code_lengths,
    write_codes,
)
from tfcompress.coding.mixing import Mixing
from tfcompress.coding.rans import Rans
from tfcompress.coding.wire import Encoded, Kind, Layout

MAX_VALUES = 256
# Types that TFLite Micro decodes: float32, int32, int64, int16, int8.
_MICRO_TYPES = (1, 2, 4, 7, 9)
_INT8 = 9
_WIDE_INTEGERS = (2, 4, 7)
_MAX_LUT_VALUES = 128
_SAMPLE_SIZE = 1 << 16
# Number of channels that show whether it is worth processing all of them.
_NUM_TRIED = 4


class Symbols:
    """A constant as indices into its distinct values.

    Attributes:
        tensor: its `wire.Tensor`.
        elements: its elements, flat.
        values: the distinct elements in ascending order; with an axis, one row of them
            per channel, padded to the longest row.
        indices: `uint8` array in the tensor's shape.
        zero: the index of 0, or of the value nearest to it.
        axis: the `wire.Axis` of the channels.
    """

    def __init__(self, tensor, elements, values, indices, zero, axis=wire.Axis.NONE):
        self.tensor = tensor
        self.elements = elements
        self.values = values
        self.indices = indices
        self.zero = zero
        self.axis = axis

    @property
    def num_values(self):
        """The number of values in a table."""
        return self.values.shape[-1]

    @classmethod
    def of(cls, content, tensor):
        """The symbols for a constant's bytes, None if it has more than 256 values."""
        elements = tensor.elements(content).ravel()
        # Compares bit patterns, since -0.0 equals 0.0 but must be preserved.
        patterns = elements.view(f"u{elements.dtype.itemsize}")
        found = _distinct(patterns)
        if found is None:
            return None
        order = np.argsort(found.view(elements.dtype), kind="stable")
        rank = np.empty(len(found), np.uint8)
        rank[order] = np.arange(len(found))
        if patterns.dtype.itemsize == 1:
            table = np.zeros(256, np.uint8)
            table[found] = rank
            indices = table[patterns]
        else:
            indices = rank[np.searchsorted(found, patterns)]
        values = found[order].view(elements.dtype)
        zero = int(np.argmin(np.abs(values.astype(np.float64))))
        return cls(tensor, elements, values, indices.reshape(tensor.shape), zero)

    @classmethod
    def by_channel(cls, content, tensor):
        """Symbols with one table of values per output channel.

        Shared values differ between channels once each has its own scale, as after
        folding batch norm. Zero has the same index in all of them.

        Returns:
            None if there are no channels, or if one has more than 256 values or as many
            as elements.
        """
        if len(tensor.shape) < 2:
            return None
        elements = tensor.elements(content)
        # A depthwise kernel is (1, height, width, channels), others (channels, ...).
        axis = wire.Axis.FIRST if tensor.shape[0] > 1 else wire.Axis.LAST
        place = 0 if axis == wire.Axis.FIRST else -1
        rows = np.moveaxis(elements, place, 0).reshape(elements.shape[place], -1)
        found = _ranks(_rising(rows))
        if found is None:
            return None
        indices, zero, num_values = found
        values = np.zeros((len(rows), num_values), elements.dtype)
        np.put_along_axis(values, indices.astype(np.intp), rows, axis=1)
        moved = np.moveaxis(elements, place, 0).shape
        indices = np.moveaxis(indices.reshape(moved), 0, place)
        return cls(tensor, elements.ravel(), values, indices, zero, axis)


def _rising(elements):
    """Integers in the order of the elements, 0 for 0.0; -0.0 comes before it."""
    if elements.dtype.kind in "iu":
        return elements.astype(np.int64)
    bits = elements.view(f"i{elements.dtype.itemsize}").astype(np.int64)
    lowest = np.int64(-1) << (8 * elements.dtype.itemsize - 1)
    return np.where(bits < 0, lowest - bits - 1, bits)


def _ranks(rows):
    """`(indices, zero, values of a table)` for integers `(channels, elements)`."""
    most = min(MAX_VALUES, rows.shape[1] - 1)
    if max(len(np.unique(row)) for row in rows[:_NUM_TRIED]) > most:
        return None
    order = np.argsort(rows, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, axis=1)
    rank = np.cumsum(np.diff(ordered, axis=1, prepend=ordered[:, :1]) != 0, axis=1)
    negative = np.sum(
        (ordered < 0) & (np.diff(ordered, axis=1, append=1 << 40) != 0), axis=1
    )
    zero = int(negative.max())
    has_zero = (rows == 0).any(axis=1, keepdims=True)
    # Channels without a zero leave its place unused if others have one.
    gap = (ordered >= 0) & ~has_zero & has_zero.any()
    index = rank + zero - negative[:, None] + gap
    num_values = int(index.max()) + 1
    if num_values > most:
        return None
    indices = np.empty(rows.shape, np.uint8)
    np.put_along_axis(indices, order, index.astype(np.uint8), axis=1)
    return indices, min(zero, num_values - 1), num_values


def _distinct(patterns):
    """The distinct values, None if there are more than 256."""
    if patterns.dtype.itemsize == 1:
        return np.flatnonzero(np.bincount(patterns, minlength=256)).astype(np.uint8)
    found = np.unique(patterns[:_SAMPLE_SIZE])
    if len(found) > MAX_VALUES:
        return None
    places = np.minimum(np.searchsorted(found, patterns), len(found) - 1)
    if not np.array_equal(found[places], patterns):
        found = np.unique(patterns)
    return found if len(found) <= MAX_VALUES else None


def lut(symbols):
    """Packed indices into one table for all channels, or one per channel."""
    if symbols.tensor.type not in _MICRO_TYPES or symbols.axis:
        return [coded(symbols, BitPack())]
    options = [_shared_lut(symbols), _lut_by_channel(symbols)]
    return [option for option in options if option] or [coded(symbols, BitPack())]


def _shared_lut(symbols):
    count = len(symbols.values)
    if count > _MAX_LUT_VALUES:
        return None
    bits = bits_for(symbols.indices)
    # A stride of 0 makes all quantized channels read the same values.
    stride = 0 if symbols.tensor.num_channels > 1 else count
    return Encoded(
        pack(symbols.indices, bits),
        wire.header(Kind.LUT, wire.SHARED_LUT << 4 | bits, stride)
        + symbols.values.tobytes(),
    )


def _lut_by_channel(symbols):
    tensor = symbols.tensor
    if tensor.num_channels == 1:
        return None
    channels = tensor.channel_of_each()
    used = np.zeros((tensor.num_channels, len(symbols.values)), bool)
    used[channels, symbols.indices.ravel()] = True
    stride = int(used.sum(axis=1).max())
    if stride > _MAX_LUT_VALUES:
        return None
    places = np.cumsum(used, axis=1) - 1
    indices = places[channels, symbols.indices.ravel()]
    bits = bits_for(indices)
    values = np.zeros((tensor.num_channels, stride), symbols.values.dtype)
    rows, columns = np.nonzero(used)
    values[rows, places[rows, columns]] = symbols.values[columns]
    axis = len(tensor.shape) - 1 if tensor.channels_last else 0
    ancillary = wire.header(Kind.LUT, axis << 4 | bits, stride) + values.tobytes()
    return Encoded(pack(indices, bits), ancillary)


def huffman(symbols):
    """Huffman codes, with TFLite Micro's tables for int8.

    It has none for wider integers, as in the biases of int8 models: those become a `lut`.
    """
    if symbols.tensor.type in _WIDE_INTEGERS:
        return lut(symbols)
    if symbols.tensor.type != _INT8 or symbols.axis:
        return [coded(symbols, Huffman())]
    symbols_in_byte_order = symbols.values.view(np.uint8)
    lengths = np.zeros(256, np.uint8)
    counts = np.bincount(symbols.indices.ravel(), minlength=len(symbols.values))
    lengths[symbols_in_byte_order] = code_lengths(counts)
    tables, initial_bits, is_wide = decode_tables(lengths)
    codes = write_codes(symbols.elements.view(np.uint8), lengths)
    words = np.frombuffer(codes + bytes(-len(codes) % 4 + 4), np.uint8)
    ancillary = wire.header(Kind.HUFFMAN, (initial_bits - 1) << 4 | is_wide)
    return [Encoded(words.tobytes(), ancillary + tables.tobytes())]


def decode_tables(lengths):
    """The smallest tables with which TFLite Micro decodes a canonical code.

    Returns:
        `(tables, initial_bits, is_wide)`: entries of 16 bits, or of 32 if an offset
        does not fit, and the index bits of the first table.
    """
    longest = int(lengths.max())
    options = [_tables(lengths, bits) for bits in range(1, longest + 1)]
    best = int(np.argmin([len(kinds) for kinds, _, _ in options]))
    kinds, counts, values = options[best]
    is_wide = bool((values >= 2048).any())
    shift = 27 if is_wide else 11
    entries = kinds << (shift + 4) | counts << shift | values
    return entries.astype("<u4" if is_wide else "<u2"), best + 1, is_wide


def _tables(lengths, initial_bits):
    """Kind, count and value of each entry: a first table, then one per prefix."""
    used = np.flatnonzero(lengths)
    lengths, codes = lengths[used].astype(np.int64), canonical_codes(lengths)[used]
    is_long = lengths > initial_bits
    prefixes = codes[is_long] >> (lengths[is_long] - initial_bits)
    size = 1 << initial_bits
    parts = [
        _fill_table(used[~is_long], codes[~is_long], lengths[~is_long], initial_bits)
    ]
    for prefix in np.unique(prefixes):
        inside = np.flatnonzero(is_long)[prefixes == prefix]
        rest = lengths[inside] - initial_bits
        bits = int(rest.max())
        first = parts[0]
        first[:, prefix] = 0, bits - 1, size - prefix
        below = codes[inside] & ((1 << rest) - 1)
        parts.append(_fill_table(used[inside], below, rest, bits))
        size += 1 << bits
    return np.concatenate(parts, axis=1)


def _fill_table(symbols, codes, lengths, bits):
    table = np.zeros((3, 1 << bits), np.int64)
    for symbol, code, length in zip(symbols, codes, lengths, strict=True):
        free = bits - length
        table[:, code << free : (code + 1) << free] = [[1], [length], [symbol]]
    return table


def prune(symbols):
    """One bit per element, and the elements that are not zero."""
    tensor = symbols.tensor
    if tensor.type not in _MICRO_TYPES or symbols.axis or any(tensor.zero_points):
        return [coded(symbols, BitPack(), Layout.BITMAP)]
    filled = symbols.elements.view(f"u{symbols.elements.dtype.itemsize}") != 0
    return [
        Encoded(
            np.packbits(filled).tobytes(),
            wire.header(Kind.PRUNE) + symbols.elements[filled].tobytes(),
        )
    ]


def rans(symbols):
    """Asymmetric numeral systems with fixed tables, for symbols or for gaps and entries."""
    layouts = (Layout.DENSE, Layout.RELATIVE)
    return [coded(symbols, Rans(), layout) for layout in layouts]


def adaptive_rans(symbols):
    """The same with learned probabilities, for several periods of columns."""
    found = periods(symbols)
    return [coded(symbols, AdaptiveRans(symbols.zero, period)) for period in found]


def mixing(symbols):
    """The same with more contexts, which takes several times as long."""
    return [coded(symbols, Mixing(symbols.zero, period)) for period in periods(symbols)]


def num_decisions(symbols):
    """The approximate number of binary decisions that `mixing` makes."""
    filled = np.count_nonzero(symbols.indices != symbols.zero)
    return symbols.indices.size + filled * 2 * symbols.num_values.bit_length()


def periods(symbols):
    """Periods of columns to try: none, channels, and those suggested by full columns."""
    shape = symbols.indices.shape
    if len(shape) < 2 or symbols.indices[0].size < 4:
        return [0]
    filled = (symbols.indices != symbols.zero).reshape(shape[0], -1).sum(axis=0)
    centered = filled - filled.mean()
    power = np.abs(np.fft.rfft(centered, 2 * len(filled))) ** 2
    likeness = np.fft.irfft(power)[2 : len(filled) // 2]
    found = {0, shape[-1]} if len(shape) > 2 else {0}
    if likeness.size:
        found.add(int(np.argmax(likeness)) + 2)
    widest = min(symbols.indices[0].size, 1 << 16)
    return sorted(p for p in found if p != 1 and p < widest)


def coded(symbols, codec, layout=Layout.DENSE):
    """Indices written by a codec, and the values that they represent."""
    num_values = symbols.num_values
    ancillary = wire.header(
        Kind.SYMBOLS, layout, codec.number, num_values - 1, symbols.zero, symbols.axis
    )
    content = wire.in_layout(codec, layout, symbols.zero).encode(symbols.indices)
    return Encoded(content, ancillary + symbols.values.tobytes())
