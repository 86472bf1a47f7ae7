"""The coder ADAPTIVE_RANS of docs/file_format.md, written from that page and nothing
else, except for what it shares with the coder MIXING.
"""

import itertools
import math

import numpy as np

from tests.docs.mixing_reader import fill, log2, squash

_HALVED = [squash(odds) // 2 for odds in range(-2047, 2048)]
_STRETCH = [
    int(min(np.searchsorted(_HALVED, 8 * t + 4), 4094)) - 2047 for t in range(4096)
]


class Lanes:
    """States and words."""

    def __init__(self, stream, lanes):
        self.stream, self.place, self.lanes = stream, 8, lanes

    def take(self, size):
        assert self.place + size <= len(self.stream)
        self.place += size
        return int.from_bytes(self.stream[self.place - size : self.place], "little")

    def start(self):
        self.states = [self.take(4) for _ in range(self.lanes)]

    def value(self, j, firsts):
        """The value whose interval contains the slot; `firsts` ends with 32768."""
        x = self.states[j % self.lanes]
        slot = x % 32768
        found = max(i for i, first in enumerate(firsts[:-1]) if first <= slot)
        x = (firsts[found + 1] - firsts[found]) * (x // 32768) + slot - firsts[found]
        self.states[j % self.lanes] = x if x >= 65536 else 65536 * x + self.take(2)
        return found


def firsts_of(shares):
    u = ((32768 - len(shares)) << 32) // sum(shares)
    sums = itertools.accumulate(shares[:-1], initial=0)
    return [i + (u * before >> 32) for i, before in enumerate(sums)] + [32768]


def frequencies(firsts):
    return [b - a for a, b in itertools.pairwise(firsts)]


class Table:
    """Counts and frequencies; `prior` is another table or None."""

    def __init__(self, size, trust, prior=None):
        self.trust, self.prior, self.counts = trust, prior, [0] * size
        self.firsts, self.new, self.d = firsts_of([1] * size), 0, 0

    def count(self, value):
        self.counts[value] += 1
        self.new += 1
        if sum(self.counts) > 1024:
            self.counts = [(a + 1) // 2 for a in self.counts]

    def update(self):
        if self.new <= self.d:
            return
        self.new, self.d = 0, min(63, 2 * self.d + 1)
        size = len(self.counts)
        before = (
            frequencies(self.prior.firsts) if self.prior else [32768 // size] * size
        )
        self.firsts = firsts_of(
            [
                self.trust * f + 32768 * a
                for f, a in zip(before, self.counts, strict=True)
            ]
        )


def upper(i):
    return min(3, i // 2)


class Decoder:
    def __init__(self, stream, count):
        self.z = stream[1]
        self.p = int.from_bytes(stream[2:4], "little")
        self.w = int.from_bytes(stream[4:8], "little")
        self.lanes = Lanes(stream, 1 if count < 4096 else 4)
        self.rows = math.ceil(count / self.w)
        self.count = count
        self.filled = np.zeros((self.rows, self.w), bool)
        self.levels = np.zeros((self.rows, self.w), int)
        self.overall, self.predictors, self.mixtures = [32768, 0], {}, {}
        self.classes = Table(16, 1)
        self.tops = [Table(2 ** upper(i), 8) for i in range(16)]
        self.sized = {}

    def decode(self):
        left = 0
        for row in range(self.rows):
            if left <= 0:
                self.lanes.start()
                left = 2**20
            self.decode_row(row)
            left -= self.w
            if left <= 0 or row + 1 == self.rows:
                assert set(self.lanes.states) == {65536}
        assert self.lanes.place == len(self.lanes.stream)
        return self.levels.ravel()[: self.count] + self.z

    def decode_row(self, row):
        if row == 0:
            self.fills = [0] * self.w
        elif row < 16 or row % 2 ** (log2(row) - 3) == 0:
            sums = self.filled[:row].sum(axis=0).tolist()
            self.fills = [fill(a, row) for a in sums]
        self.lengths, self.size = [0] * 8, 0
        self.start_classes()
        end = min(self.w, self.count - row * self.w)
        for start in range(0, end, 32):
            columns = range(start, min(start + 32, end))
            found = self.whether(row, columns)
            self.filled[row, columns] = found
            levels = self.values(sum(found)) if any(found) else []
            self.levels[row, columns.start + np.flatnonzero(found)] = levels

    def start_classes(self):
        shares = []
        for i, f in enumerate(frequencies(self.classes.firsts)):
            both = self.classes.firsts[i // 2 * 2 + 2] - self.classes.firsts[i // 2 * 2]
            shares.append(f * (16 + (self.lengths[i // 2] * (8388608 // both) >> 8)))
        self.of_row = firsts_of(shares)

    def is_filled(self, row, column):
        return row >= 0 and 0 <= column < self.w and bool(self.filled[row, column])

    def contexts(self, row, columns):
        of_row = int(self.filled[row, : columns.start].sum())
        r = fill(of_row, columns.start)
        for x in columns:
            near = [(row - 1, x), (row - 2, x), (row - 1, x - 1), (row - 1, x + 1)]
            before = [(row, x - self.p + d) for d in (0, 1, -1, -self.p)]
            places = {"near": near, "period": before if x >= self.p else []}
            bits = {
                name: sum(self.is_filled(*place) << k for k, place in enumerate(found))
                for name, found in places.items()
            }
            asked = [("near", bits["near"]), ("fill", self.fills[x], r)]
            yield asked + [("period", bits["period"])] * (self.p > 0)

    def whether(self, row, columns):
        o0 = _STRETCH[self.overall[0] // 16]
        start = [65536, 20000, 20000, 20000]
        weights = self.mixtures.setdefault(min(11, log2(row + 1)), start)
        asked = list(self.contexts(row, columns))
        slopes, found, used = [0] * 4, [], {}
        for j, contexts in enumerate(asked):
            known = [
                self.predictors.setdefault(context, [self.overall[0], 1])
                for context in contexts
            ]
            odds = [o0] + [_STRETCH[predictor[0] // 16] - o0 for predictor in known]
            pairs = zip(odds, weights, strict=False)
            o = max(-2047, min(2047, sum(a * (b >> 4) for a, b in pairs) >> 12))
            f = squash(o) // 2
            found.append(self.lanes.value(j, [0, f, 32768]) == 0)
            for i, odd in enumerate(odds):
                slopes[i] += odd * (32768 * found[-1] - f)
            for context in contexts:
                used.setdefault(context, []).append(found[-1])
        for i, slope in enumerate(slopes):
            weights[i] = max(-262143, min(262143, weights[i] + (3 * slope >> 16)))
        pairs = [(self.predictors[context], seen) for context, seen in used.items()]
        for predictor, seen in [*pairs, (self.overall, found)]:
            predictor[1] = min(255, predictor[1] + len(seen))
            error = 65535 * sum(seen) - len(seen) * predictor[0]
            predictor[0] += error * (131072 // (2 * predictor[1] + 1)) >> 16
        return found

    def values(self, count):
        n = sum(self.lengths)
        size = 2 * self.size // n if n else 0
        classes = [self.lanes.value(j, self.of_row) for j in range(count)]
        tops, levels = [], []
        for j, i in enumerate(classes):
            own = self.sized.setdefault(
                (i, size), Table(2 ** upper(i), 32, self.tops[i])
            )
            known = own if any(own.counts) else self.tops[i]
            tops.append(self.lanes.value(j, known.firsts))
        for j, i in enumerate(classes):
            low = i // 2 - upper(i)
            steps = range(0, 32769, 32768 >> low)
            value = (2 ** upper(i) + tops[j]) * 2**low + self.lanes.value(j, steps)
            levels.append(-value if i % 2 else value)
        for i, top in zip(classes, tops, strict=True):
            self.classes.count(i)
            self.lengths[i // 2] += 1
            self.size += i // 2 * 2
            if i > 1:
                self.size += top >> (upper(i) - 1)
                for table in (self.tops[i], self.sized[i, size]):
                    table.count(top)
                for table in (self.tops[i], self.sized[i, size]):
                    table.update()
        self.classes.update()
        self.start_classes()
        return levels


def adaptive_rans(stream, count):
    return Decoder(stream, count).decode()
