"""Asymmetric numeral systems with learned contexts."""

import numpy as np

from tfcompress.coding.adaptive import MAX_COLUMNS, Adaptive

_LARGEST_ODDS = 2047
_MAX_USES = 1023
_ZERO_WEIGHT, _NODE_WEIGHT = 15000, 20000
_ZERO_RATE, _NODE_RATE = 6, 3
_ROW_TRUST, _COLUMN_TRUST, _NEAR_TRUST = 4, 3, 1
_FIRST_SIZE_NODE, _FIRST_BIT_NODE = 1, 9
_LOWEST_STATE = 1 << 32


class Mixing(Adaptive):
    """Writes each symbol as binary decisions with probabilities learned on the fly.

    A symbol `s` becomes the level `q = s - zero`: whether `q` is 0, its sign, and its
    size. A decision uses predictors, one per context; a predictor holds the probability
    `p` of a 1 and changes by `(bit - p) / (n + 1.5)` at its n-th use. A mixture learns
    which predictors to trust:

        p = squash(sum_i w_i x_i),   x_0 = stretch(p_0),   x_i = stretch(p_i) - x_0,
        w_i <- w_i + rate x_i (bit - p),   stretch(p) = ln(p / (1 - p))

    with `squash` the inverse of `stretch`. Contexts of a zero: all symbols so far, its
    column, its row, the six surrounding symbols, how full its row, its column and the
    adjacent columns are, the last 32 symbols, those one period of columns before; of
    signs and sizes: all symbols so far, the row, the symbols to the left and above.
    Only integers are used, so that every machine computes the same. A decision takes
    about 60 ns, so that 15 million zeros take a second.

    Args:
        zero: the symbol of most weights, usually that of 0.
        period: columns after which patterns repeat, such as the channels of a
            convolution or the width of an image, 2 to 65535; 0 for none.

    Raises:
        ValueError: if an argument is out of range.

    Source: Mahoney (2005), "Adaptive Weighing of Context Models for Lossless Data
    Compression"; the decisions are those of Wiedemann et al. (2020), "DeepCABAC".

    Example:
        >>> mask = np.zeros((64, 64), np.uint8)
        >>> mask[::8] = 1
        >>> len(Mixing().encode(mask)), len(tfc.coding.Huffman().encode(mask))
        (32, 514)
    """

    # Used in headers of encoded tensors; the same as in `native/coding/decode.h`.
    number = 3
    native_name = "mixing"

    def decode_reference(self, stream, count):
        if not count:
            return np.zeros(0, np.uint8)
        if len(stream) < 16:
            raise ValueError(f"Cannot decode {count} symbols: corrupt data.")
        return _Model(stream, count).symbols()


class _Model:
    """The decoder of the native core, line by line; see `native/coding/mixing.c`."""

    def __init__(self, stream, count):
        self.num_symbols, self.zero = stream[0] + 1, stream[1]
        self.period = int.from_bytes(stream[2:4], "little")
        self.width = int.from_bytes(stream[4:8], "little")
        most = min(count, MAX_COLUMNS)
        if not 0 < self.width <= most or self.period == 1 or self.period >= self.width:
            raise ValueError(f"Cannot decode {count} symbols: corrupt data.")
        self.count = count
        self.state = int.from_bytes(stream[8:16], "little")
        self.words = iter(np.frombuffer(stream[16:], "<u4").tolist())
        self.levels = []
        # A predictor is a list: its probability, and its number of uses.
        self.predictors = {"overall": [32768, 0]}
        self.weights = {}
        self.filled = [0] * self.width
        self.recent = 0
        self.stretched = _stretched()

    def symbols(self):
        """All symbols of the stream."""
        for i in range(self.count):
            if i % self.width == 0:
                self._start_row()
            self.levels.append(self._level(i))
        if self.state != _LOWEST_STATE or next(self.words, None) is not None:
            raise ValueError(f"Cannot decode {self.count} symbols: corrupt data.")
        return (np.array(self.levels) + self.zero).astype(np.uint8)

    def _start_row(self):
        self.row_filled = 0
        for key in [key for key in self.predictors if key[0] == "row"]:
            del self.predictors[key]

    def _level(self, i):
        if not self._is_filled(i):
            return 0
        near = [self._before(i, 1), self._before(i, self.width)]
        signs = [int(np.sign(level)) + 1 for level in near]
        negative = self._node(0, signs[0] * 3 + signs[1])
        lengths = [min((abs(level) + 1).bit_length() - 1, 3) for level in near]
        size = self._size(lengths[0] * 4 + lengths[1], negative)
        level = -size if negative else size
        if not 0 <= level + self.zero < self.num_symbols:
            raise ValueError(f"Cannot decode {self.count} symbols: corrupt data.")
        return level

    def _is_filled(self, i):
        row, column = divmod(i, self.width)
        backs = [1, 2, self.width, 2 * self.width, self.width + 1]
        backs += [self.width - 1] if self.width > 1 else []
        near = sum((self._before(i, b) != 0) << k for k, b in enumerate(backs))
        column_fill = _fill(self.filled[column], row)
        row_fill = _fill(self.row_filled, column)
        adjacent = _fill(self._beside(column, 1), 2 * row)
        apart = _fill(self._beside(column, self.period or 2), 2 * row)
        asked = [
            ("overall", 0),
            (("column", column), _COLUMN_TRUST),
            (("row",), _ROW_TRUST),
            (("near", near, column_fill), _NEAR_TRUST),
            (("fills", column_fill, row_fill), _NEAR_TRUST),
            (("around", adjacent, apart), _NEAR_TRUST),
            (("lately", self.recent.bit_count(), row_fill), _NEAR_TRUST),
        ]
        if self.period:
            before = self._near_a_period_before(i, column)
            asked.append((("period", before, column_fill), _NEAR_TRUST))
        age = min((row + 1).bit_length() - 1, 11)
        bit = self._decide(asked, ("zero", age), _ZERO_WEIGHT, _ZERO_RATE)
        self.filled[column] += bit
        self.row_filled += bit
        self.recent = (self.recent << 1 | bit) & 0xFFFFFFFF
        return bit

    def _near_a_period_before(self, i, column):
        p = self.period
        if column < p:
            return 0
        filled = [
            self._before(i, p),
            self._before(i, p - 1),
            column > p and self._before(i, p + 1),
            column >= 2 * p and self._before(i, 2 * p),
            self._before(i, 1),
        ]
        return sum((level != 0) << k for k, level in enumerate(filled))

    def _node(self, node, near, negative=0):
        self.predictors.setdefault(("node", node), [32768, 0])
        asked = [
            (("node", node), 0),
            (("node sign", node, negative), _NEAR_TRUST),
            (("row", node), _ROW_TRUST),
            (("node near", node, near, negative), _NEAR_TRUST),
        ]
        return self._decide(asked, ("node", node), _NODE_WEIGHT, _NODE_RATE)

    def _size(self, near, negative):
        length = 0
        while length < 7 and self._node(_FIRST_SIZE_NODE + length, near, negative):
            length += 1
        size = 1
        for depth in range(length):
            place = size - 1 if depth < 2 else 1 + depth
            node = _FIRST_BIT_NODE + length * 9 + place
            size = size << 1 | self._node(node, near, negative)
        return size

    def _before(self, i, back):
        return self.levels[i - back] if back <= i else 0

    def _beside(self, column, offset):
        left = self.filled[column - offset] if column >= offset else 0
        right = column + offset
        return left + (self.filled[right] if right < self.width else 0)

    def _decide(self, asked, mixture, weight, rate):
        prior = self.predictors[asked[0][0]][0]
        found = [self.predictors.setdefault(key, [prior, n]) for key, n in asked]
        inputs = [self.stretched[probability >> 4] for probability, _ in found]
        inputs = inputs[:1] + [x - inputs[0] for x in inputs[1:]]
        weights = self.weights.setdefault(mixture, [65536] + [weight] * 7)
        odds = _divide(sum(x * w for x, w in zip(inputs, weights, strict=False)), 65536)
        mixed = squash(max(-_LARGEST_ODDS, min(_LARGEST_ODDS, odds)))
        bit = self._bit(mixed)
        truth = 65535 * bit
        for i, (x, predictor) in enumerate(zip(inputs, found, strict=True)):
            weights[i] += _divide(x * (truth - mixed) * rate, 1 << 18)
            probability, uses = predictor
            step = 65536 * 2 // (2 * uses + 3)
            predictor[0] += _divide((truth - probability) * step, 65536)
            predictor[1] = min(uses + 1, _MAX_USES)
        return bit

    def _bit(self, probability):
        slot = self.state & 65535
        bit = int(slot < probability)
        frequency, first = (
            (probability, 0) if bit else (65536 - probability, probability)
        )
        self.state = frequency * (self.state >> 16) + slot - first
        if self.state < _LOWEST_STATE:
            word = next(self.words, None)
            if word is None:
                raise ValueError(
                    f"Cannot decode {self.count} symbols: the stream ends."
                )
            self.state = self.state << 32 | word
        return bit


def _fill(filled, length):
    """The fill level, from 0 (empty) to 11, in powers of two."""
    if not filled or not length:
        return 0
    return max(1, min((filled * 1024 // length).bit_length(), 11))


def _divide(a, b):
    """Division rounded towards zero, as in C."""
    return a // b if a >= 0 else -(-a // b)


# 65536 / (1 + exp(-i / 2)) for i = -16 to 16; listed, since the last digit of an
# exponential differs between machines.
_SQUASHED = [
    *(22, 36, 60, 99, 162, 268, 440, 722, 1179, 1921, 3108, 4971, 7812, 11955, 17625),
    *(24743, 32768, 40793, 47911, 53581, 57724, 60565, 62428, 63615, 64357, 64814),
    *(65096, 65268, 65374, 65437, 65476, 65500, 65514),
]


def squash(odds):
    """The probability, in 1/65536, of odds whose logarithm is given in 1/256."""
    place, rest = divmod(odds + 2048, 128)
    low, high = _SQUASHED[place : place + 2]
    return low + _divide((high - low) * rest, 128)


def _stretched():
    """For each probability in steps of 1/4096, the lowest odds that reach its middle."""
    odds, table = -_LARGEST_ODDS, []
    for middle in range(8, 65536, 16):
        while odds < _LARGEST_ODDS and squash(odds) < middle:
            odds += 1
        table.append(odds)
    return table
