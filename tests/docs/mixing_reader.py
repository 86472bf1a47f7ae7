"""The coder MIXING of docs/file_format.md, written from that page and nothing else."""

import numpy as np

_SQUASHED = [
    *(22, 36, 60, 99, 162, 268, 440, 722, 1179, 1921, 3108, 4971, 7812, 11955, 17625),
    *(24743, 32768, 40793, 47911, 53581, 57724, 60565, 62428, 63615, 64357, 64814),
    *(65096, 65268, 65374, 65437, 65476, 65500, 65514),
]


def divided(a, b):
    return abs(a) // b * (1 if a >= 0 else -1)


def squash(odds):
    k, r = divmod(odds + 2048, 128)
    return _SQUASHED[k] + divided((_SQUASHED[k + 1] - _SQUASHED[k]) * r, 128)


def log2(a):
    return max(a.bit_length() - 1, 0)


def fill(a, b):
    return min(11, max(1, (1024 * a // b).bit_length())) if a and b else 0


def sign(a):
    return (a > 0) - (a < 0)


_SQUASH = [squash(odds) for odds in range(-2047, 2048)]
_STRETCH = [
    int(min(np.searchsorted(_SQUASH, 16 * t + 8), 4094)) - 2047 for t in range(4096)
]


class Decoder:
    """State, predictors and mixtures of one stream."""

    def __init__(self, stream):
        self.x = int.from_bytes(stream[8:16], "little")
        self.words = iter(np.frombuffer(stream[16:], "<u4").tolist())
        self.predictors, self.mixtures = {}, {}

    def bit(self, q):
        slot, rest = self.x % 65536, self.x // 65536
        found = slot < q
        self.x = q * rest + slot if found else (65536 - q) * rest + slot - q
        if self.x < 2**32:
            self.x = 2**32 * self.x + next(self.words)
        return int(found)

    def decide(self, prior, asked, mixture, first, rate):
        known = [self.predictors.setdefault(prior, [32768, 0])]
        for context, trust in asked:
            new = [known[0][0], trust]
            known.append(self.predictors.setdefault(context, new))
        odds = [_STRETCH[probability // 16] for probability, _ in known]
        odds = odds[:1] + [o - odds[0] for o in odds[1:]]
        start = [65536] + [first] * len(asked)
        weights = self.mixtures.setdefault(mixture, start)
        o = divided(sum(a * b for a, b in zip(odds, weights, strict=True)), 65536)
        q = squash(min(2047, max(-2047, o)))
        bit = self.bit(q)
        for i, predictor in enumerate(known):
            weights[i] += divided(odds[i] * (65535 * bit - q) * rate, 2**18)
            step = 131072 // (2 * predictor[1] + 3)
            predictor[0] += divided((65535 * bit - predictor[0]) * step, 65536)
            predictor[1] = min(predictor[1] + 1, 1023)
        return bit


def mixing(stream, count):
    """The symbols of a stream."""
    if not count:
        return np.zeros(0, int)
    decoder, zero = Decoder(stream), stream[1]
    p = int.from_bytes(stream[2:4], "little")
    w = int.from_bytes(stream[4:8], "little")
    values, filled = [], [0] * w

    def q(k):
        return values[-k] if k <= len(values) else 0

    def flags(*levels):
        return sum((level != 0) << k for k, level in enumerate(levels))

    def next_to(column, d):
        left = filled[column - d] if column >= d else 0
        return left + (filled[column + d] if column + d < w else 0)

    for i in range(count):
        row, column = divmod(i, w)
        of_row = sum(value != 0 for value in values[i - column :])
        c, r = fill(filled[column], row), fill(of_row, column)
        near = flags(q(1), q(2), q(w), q(2 * w), q(w + 1), q(w - 1) if w > 1 else 0)
        around = (
            fill(next_to(column, 1), 2 * row),
            fill(next_to(column, p or 2), 2 * row),
        )
        asked = [
            (("column", column), 3),
            (("row", row), 4),
            (("near", near, c), 1),
            (("fills", c, r), 1),
            (("around", *around), 1),
            (("lately", sum(v != 0 for v in values[-32:]), r), 1),
        ]
        if p:
            after = q(p + 1) if column > p else 0
            twice = q(2 * p) if column >= 2 * p else 0
            b = flags(q(p), q(p - 1), after, twice, q(1)) if column >= p else 0
            asked.append((("period", b, c), 1))
        age = min(11, log2(row + 1))
        value = 0
        if decoder.decide("prior", asked, ("zero", age), 15000, 6):
            value = nonzero(decoder, row, q(1), q(w))
            filled[column] += 1
        values.append(value)
    assert decoder.x == 2**32 and next(decoder.words, None) is None
    return np.array(values) + zero


def nonzero(decoder, row, left, above):
    """A value that is not 0: its sign, its length, its bits."""

    def node(number, near, negative):
        asked = [
            (("sign", number, negative), 1),
            (("row", row, number), 4),
            (("near node", number, near, negative), 1),
        ]
        return decoder.decide(("node", number), asked, ("node", number), 20000, 3)

    negative = node(0, 3 * (1 + sign(left)) + 1 + sign(above), 0)
    near = 4 * min(3, log2(abs(left) + 1)) + min(3, log2(abs(above) + 1))
    length = 0
    while length < 7 and node(1 + length, near, negative):
        length += 1
    value = 1
    for d in range(length):
        place = value - 1 if d < 2 else 1 + d
        value = 2 * value + node(9 + 9 * length + place, near, negative)
    return -value if negative else value
