"""Asymmetric numeral systems with probabilities learned block by block."""

import numpy as np

from tfcompress.coding.adaptive import MAX_COLUMNS, Adaptive
from tfcompress.coding.mixing import squash

_BLOCK, _PART = 32, 1 << 20
_MAX_LANES, _MIN_COUNT_FOR_LANES = 4, 4096
_SCALE = 1 << 15
_LOWEST_STATE = 1 << 16
_LARGEST_ODDS = 2047
_FIRST_WEIGHT, _LARGEST_WEIGHT = 20000, (1 << 18) - 1
_MAX_USES = 255
_CLASS_TRUST, _ROW_TRUST, _TOP_TRUST, _SIZE_TRUST = 1, 16, 8, 32
_MAX_COUNTED, _MAX_PENDING = 1024, 63


class AdaptiveRans(Adaptive):
    """Writes symbols with learned probabilities, several times as fast as `Mixing`.

    A symbol `s` becomes the level `q = s - zero`: whether `q` is 0, its class, which is
    its sign and the number of its bits, and the bits below the highest. What a block of
    32 symbols is predicted from is known before the block, and what is learned from it
    is learned after it, so that its symbols need not wait for each other; four rANS
    states alternate.

    Three predictors, chosen by the symbols above, by how full the column and the row
    are, and by the symbols one period of columns before, are mixed as in `Mixing`:

        p(q is not 0) = squash(sum_i w_i x_i),   w_i <- w_i + rate sum_block x_i (bit - p)

    Classes are counted in each row, with the counts of all rows as a prior; up to three
    bits below the highest are counted for each class and mean size of the row so far,
    with the counts of the class as a prior. The rest is written as it is.

    Args:
        zero: the symbol of most weights, usually that of 0.
        period: columns after which patterns repeat, such as the channels of a
            convolution or the width of an image, 2 to 65535; 0 for none.

    Raises:
        ValueError: if an argument is out of range.

    Source: Duda (2013), "Asymmetric Numeral Systems", arXiv 1311.2540; the mixture is
    that of Mahoney (2005), "Adaptive Weighing of Context Models for Lossless Data
    Compression".

    Example:
        >>> mask = np.zeros((64, 64), np.uint8)
        >>> mask[::8] = 1
        >>> stream = AdaptiveRans().encode(mask)
        >>> len(stream), len(tfc.coding.Huffman().encode(mask))
        (316, 514)
        >>> np.array_equal(AdaptiveRans().decode(stream, mask.size), mask.ravel())
        True
    """

    # Used in headers of encoded tensors; the same as in `native/coding/decode.h`.
    number = 4
    native_name = "adaptive_rans"

    def decode_reference(self, stream, count):
        if not count:
            return np.zeros(0, np.uint8)
        if len(stream) < 8:
            raise ValueError(f"Cannot decode {count} symbols: corrupt data.")
        return _Model(stream, count).symbols()


class _Reader:
    """States and words of the parts of a stream."""

    def __init__(self, stream, count):
        self.stream, self.place, self.count = stream, 8, count
        self.num_lanes = 1 if count < _MIN_COUNT_FOR_LANES else _MAX_LANES

    def start_part(self):
        self.states = [self._number(4) for _ in range(self.num_lanes)]
        if min(self.states) < _LOWEST_STATE:
            raise self.error()

    def finish_part(self):
        if set(self.states) != {_LOWEST_STATE}:
            raise self.error()

    def slot(self, lane):
        return self.states[lane % self.num_lanes] % _SCALE

    def remove(self, lane, start, frequency):
        """Removes an interval, which contains the slot, from a state."""
        lane %= self.num_lanes
        x = self.states[lane]
        x = frequency * (x // _SCALE) + x % _SCALE - start
        if x < _LOWEST_STATE:
            x = x << 16 | self._number(2)
        self.states[lane] = x

    def _number(self, size):
        content = self.stream[self.place : self.place + size]
        if len(content) < size:
            raise self.error()
        self.place += size
        return int.from_bytes(content, "little")

    def error(self):
        return ValueError(f"Cannot decode {self.count} symbols: corrupt data.")


class _Predictor:
    """The probability of a 1, in 1/65536, and the number of uses."""

    def __init__(self, probability, uses):
        self.probability, self.uses = probability, uses

    def odds(self):
        return _STRETCHED[self.probability >> 4]

    def learn(self, count, filled):
        self.uses = min(self.uses + count, _MAX_USES)
        miss = 65535 * filled - self.probability * count
        self.probability += miss * (131072 // (2 * self.uses + 1)) >> 16


class _Table:
    """Counts of values, and the frequencies that follow from them and from a prior."""

    def __init__(self, size, trust, prior=None):
        self.size, self.trust, self.prior = size, trust, prior
        self.starts = _starts([1] * size)
        self.counts = [0] * size
        self.counted = self.pending = self.due = 0

    def known_starts(self):
        return self.starts if self.counted else self.prior.starts

    def count(self, value):
        self.counts[value] += 1
        self.pending += 1
        self.counted += 1
        if self.counted > _MAX_COUNTED:
            self.counts = [(count + 1) // 2 for count in self.counts]
            self.counted = sum(self.counts)

    def update(self):
        if self.pending <= self.due:
            return
        self.pending = 0
        if self.due < _MAX_PENDING:
            self.due = 2 * self.due + 1
        before = [_SCALE // self.size] * self.size
        if self.prior:
            before = np.diff(self.prior.starts).tolist()
        pairs = zip(before, self.counts, strict=True)
        self.starts = _starts([f * self.trust + _SCALE * n for f, n in pairs])


class _Model:
    """The decoder of the native core; see `native/coding/adaptive_rans.c`."""

    def __init__(self, stream, count):
        self.num_symbols, self.zero = stream[0] + 1, stream[1]
        self.period = int.from_bytes(stream[2:4], "little")
        self.width = int.from_bytes(stream[4:8], "little")
        self.reader = _Reader(stream, count)
        most = min(count, MAX_COLUMNS)
        if not 0 < self.width <= most or self.period == 1 or self.period >= self.width:
            raise self.reader.error()
        if self.zero >= self.num_symbols or (count - 1) // self.width >= (1 << 22) - 1:
            raise self.reader.error()
        self.count = count
        self.levels = np.zeros(count, np.int64)
        # A zero at both ends of a row.
        self.rows = np.zeros((3, self.width + 2), np.int64)
        self.filled = np.zeros(self.width, np.int64)
        self.fill = np.zeros(self.width, np.int64)
        self.overall, self.predictors, self.weights = _Predictor(32768, 0), {}, {}
        self.classes = _Table(16, _CLASS_TRUST)
        self.tops = [_Table(1 << _num_top_bits(c), _TOP_TRUST) for c in range(16)]
        self.tops_by_size = {}

    def symbols(self):
        """All symbols of the stream."""
        coded = _PART
        for row, start in enumerate(range(0, self.count, self.width)):
            if coded >= _PART:
                self.reader.start_part()
                coded = 0
            self._start_row(row)
            end = min(start + self.width, self.count)
            for i in range(start, end, _BLOCK):
                self._decode_block(row, i - start, min(_BLOCK, end - i))
            coded += self.width
            if coded >= _PART or end == self.count:
                self.reader.finish_part()
        if self.reader.place != len(self.reader.stream):
            raise self.reader.error()
        return (self.levels + self.zero).astype(np.uint8)

    def _start_row(self, row):
        if row:
            self._update_fill(row)
        self.rows = np.roll(self.rows, 1, axis=0)
        self.rows[0] = 0
        self.row_filled = self.row_sizes = 0
        self.row_lengths = [0] * 8
        self._update_row()

    def _update_fill(self, length):
        self.filled += self.rows[0, 1:-1]
        log = length.bit_length() - 1
        if log <= 3 or length % (1 << (log - 3)) == 0:
            least = [-(-(length << (k - 1)) // 1024) for k in range(2, 12)]
            self.fill = (self.filled > 0) + np.searchsorted(least, self.filled, "right")

    def _update_row(self):
        starts = self.classes.starts
        shares = []
        for c, frequency in enumerate(np.diff(starts).tolist()):
            both = starts[c // 2 * 2 + 2] - starts[c // 2 * 2]
            more = self.row_lengths[c // 2] * ((_SCALE << 8) // both) >> 8
            shares.append(frequency * (_ROW_TRUST + more))
        self.row_starts = _starts(shares)

    def _decode_block(self, row, start, size):
        filled = self._decode_filled(row, start, size)
        self.rows[0, 1 + start : 1 + start + size] = filled
        self.row_filled += sum(filled)
        places = np.flatnonzero(filled)
        if places.size:
            levels = self._decode_levels(places.size)
            self.levels[row * self.width + start + places] = levels
            symbols = np.array(levels) + self.zero
            if symbols.min() < 0 or symbols.max() >= self.num_symbols:
                raise self.reader.error()

    def _decode_filled(self, row, start, size):
        contexts = self._contexts(start, size)
        prior = self.overall.odds()
        asked = [[self._predictor(c) for c in of_symbol] for of_symbol in contexts]
        odds = [[p.odds() - prior for p in found] for found in asked]
        age = min((row + 1).bit_length() - 1, 11)
        weights = self.weights.setdefault(age, [65536, *[_FIRST_WEIGHT] * 3])
        units = [weight >> 4 for weight in weights]
        bits, errors = [], []
        for k, inputs in enumerate(odds):
            pairs = zip([prior, *inputs], units, strict=False)
            mixed = sum(x * w for x, w in pairs) >> 12
            mixed = max(-_LARGEST_ODDS, min(_LARGEST_ODDS, mixed))
            probability = squash(mixed) // 2
            bits.append(self._decode_bit(k, probability))
            errors.append(bits[-1] * _SCALE - probability)
        self._learn_filled(asked, odds, prior, weights, bits, errors)
        return bits

    def _decode_bit(self, lane, probability):
        bit = int(self.reader.slot(lane) < probability)
        start = 0 if bit else probability
        self.reader.remove(lane, start, probability if bit else _SCALE - probability)
        return bit

    def _learn_filled(self, asked, odds, prior, weights, bits, errors):
        slopes = np.array(errors) @ np.array(odds)
        for i, slope in enumerate([prior * sum(errors), *slopes.tolist()]):
            moved = weights[i] + (3 * slope >> 16)
            weights[i] = max(-_LARGEST_WEIGHT, min(_LARGEST_WEIGHT, moved))
        outcomes = {}
        for found, bit in zip(asked, bits, strict=True):
            for predictor in found:
                outcomes.setdefault(predictor, []).append(bit)
        for predictor, seen in outcomes.items():
            predictor.learn(len(seen), sum(seen))
        self.overall.learn(len(bits), sum(bits))

    def _contexts(self, start, size):
        """The contexts of each symbol of a block."""
        row, above, far_above = self.rows
        row_fill = _fill(self.row_filled, start)
        found = []
        for column in range(start, start + size):
            near = _number(
                above[column + 1],
                far_above[column + 1],
                above[column],
                above[column + 2],
            )
            found.append([("near", near), ("fill", self.fill[column], row_fill)])
            if self.period:
                found[-1].append(("period", self._a_period_before(row, column)))
        return found

    def _a_period_before(self, row, column):
        before = column - self.period
        if before < 0:
            return 0
        twice = row[before - self.period + 1] if before >= self.period else 0
        return _number(row[before + 1], row[before + 2], row[before], twice)

    def _predictor(self, context):
        if context not in self.predictors:
            self.predictors[context] = _Predictor(self.overall.probability, 1)
        return self.predictors[context]

    def _decode_levels(self, count):
        lanes = range(count)
        counted = sum(self.row_lengths)
        size_class = 2 * self.row_sizes // counted if counted else 0
        classes = [self._value(j, self.row_starts) for j in lanes]
        tables = [self._tops_by_size(size_class, c) for c in classes]
        tops = [self._value(j, tables[j].known_starts()) for j in lanes]
        rests = [
            self._plain(j, c // 2 - _num_top_bits(c)) for j, c in enumerate(classes)
        ]
        self._learn_levels(classes, tables, tops)
        levels = []
        for c, top, rest in zip(classes, tops, rests, strict=True):
            num_bits = _num_top_bits(c)
            size = ((1 << num_bits) + top) << (c // 2 - num_bits) | rest
            levels.append(-size if c % 2 else size)
        return levels

    def _tops_by_size(self, size_class, c):
        made = _Table(1 << _num_top_bits(c), _SIZE_TRUST, self.tops[c])
        return self.tops_by_size.setdefault((size_class, c), made)

    def _learn_levels(self, classes, tables, tops):
        for c, table, top in zip(classes, tables, tops, strict=True):
            self.classes.count(c)
            self.row_lengths[c // 2] += 1
            self.row_sizes += c // 2 * 2
            if c < 2:
                continue
            self.row_sizes += top >> (_num_top_bits(c) - 1)
            for each in (self.tops[c], table):
                each.count(top)
            for each in (self.tops[c], table):
                each.update()
        self.classes.update()
        self._update_row()

    def _value(self, lane, starts):
        value = int(np.searchsorted(starts, self.reader.slot(lane), "right")) - 1
        self.reader.remove(lane, starts[value], starts[value + 1] - starts[value])
        return value

    def _plain(self, lane, num_bits):
        rest = 15 - num_bits
        value = self.reader.slot(lane) >> rest
        self.reader.remove(lane, value << rest, 1 << rest)
        return value


def _num_top_bits(c):
    """The bits below the highest of a class that are learned."""
    return min(c // 2, 3)


def _starts(shares):
    """Sums of frequencies that are proportional to the shares, but at least 1."""
    scale = ((_SCALE - len(shares)) << 32) // sum(shares)
    before = [sum(shares[:i]) for i in range(len(shares))]
    return [i + (b * scale >> 32) for i, b in enumerate(before)] + [_SCALE]


def _number(*bits):
    """The number with these bits, from the lowest."""
    return sum(int(bit) << k for k, bit in enumerate(bits))


def _fill(filled, length):
    """The fill level, from 0 (empty) to 11, in powers of two."""
    if not filled or not length:
        return 0
    return max(1, min((filled * 1024 // length).bit_length(), 11))


def _stretched():
    """For each probability in steps of 1/4096, the lowest odds that reach its middle."""
    odds, table = -_LARGEST_ODDS, []
    for middle in range(4, _SCALE, 8):
        while odds < _LARGEST_ODDS and squash(odds) // 2 < middle:
            odds += 1
        table.append(odds)
    return table


_STRETCHED = _stretched()
