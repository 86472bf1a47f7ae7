"""Ranges of activations, chosen from their histogram."""

import numpy as np

from tfcompress.core.kinds import Number
from tfcompress.core.nouns import Range
from tfcompress.core.plugin import register

NUM_BINS = 2048
_NUM_CANDIDATES = 128


class MinMax(Range):
    """All values: `(min x, max x)`.

    Source: Jacob et al. (2018), section 3.1.

    >>> MinMax()(np.array([9, 0, 0, 1]), np.array([0.0, 1.0, 2.0, 3.0, 4.0]))
    (0.0, 4.0)
    """

    def __call__(self, counts, edges, bits=8):
        """The outer edges."""
        return _around_zero(edges[0], edges[-1])


class Percentile(Range):
    """All values except the same share at each end.

        (quantile(1 - p / 100), quantile(p / 100))

    Args:
        percentile: `p`, in (50, 100].

    Raises:
        ValueError: if `percentile` is outside (50, 100].

    Source: Wu et al., "Integer Quantization for Deep Learning Inference" (2020).

    >>> Percentile(75)(np.array([2, 2, 2, 2]), np.array([-2.0, -1.0, 0.0, 1.0, 2.0]))
    (-1.0, 1.0)
    """

    def __init__(self, percentile: Number(above=50, most=100) = 99.99):
        self.percentile = percentile

    def __call__(self, counts, edges, bits=8):
        """The two quantiles, linear within a bin."""
        share = np.concatenate([[0.0], np.cumsum(counts)]) / np.sum(counts)
        top = self.percentile / 100
        low = np.interp(1 - top, share, edges)
        high = -np.interp(1 - top, 1 - share[::-1], -edges[::-1])
        return _around_zero(low, high)


class MSE(Range):
    """The smallest mean squared error of rounding and clipping.

        E(a, b) = s² / 12 · P(a <= x <= b, x not 0) + E[(x - clip(x, a, b))²]
        s = (b - a) / (2^bits - 1)

    minimised over 128 x 128 values of `a` and `b`. Zero has no error, since it is a level.

    Source: Banner et al., "Post training 4-bit quantization of convolutional networks
    for rapid-deployment" (2019); Nagel et al., "A White Paper on Neural Network
    Quantization" (2021), section 3.1.

    >>> counts = np.zeros(2048); counts[:512] = 1000; counts[-1] = 1
    >>> low, high = MSE()(counts, np.linspace(0, 16, 2049), bits=4)
    >>> low, high
    (0.0, 3.875)
    """

    def __call__(self, counts, edges, bits=8):
        """The best pair of candidates."""
        centers = (edges[:-1] + edges[1:]) / 2
        holds_zero = (edges[:-1] <= 0) & (edges[1:] >= 0)
        low, high = _around_zero(edges[0], edges[-1])
        shares = np.linspace(1.0, 1 / _NUM_CANDIDATES, _NUM_CANDIDATES)
        lows = low * shares if low < 0 else np.zeros(1)
        highs = high * shares if high > 0 else np.zeros(1)
        clipped = _tail(-centers[::-1], counts[::-1], -lows)[:, None]
        clipped = clipped + _tail(centers, counts, highs)
        # The rounding error of values other than zero.
        count = np.concatenate([[0.0], np.cumsum(counts * ~holds_zero)])
        inside = np.interp(highs, edges, count) - np.interp(lows, edges, count)[:, None]
        step = (highs - lows[:, None]) / (2**bits - 1)
        error = np.square(step) / 12 * inside + clipped
        best = np.unravel_index(np.argmin(error), error.shape)
        return _around_zero(lows[best[0]], highs[best[1]])


def _tail(centers, counts, limits):
    """`Σ (x - limit)²` over the values above each limit."""
    above = np.searchsorted(centers, limits, side="right")
    moments = [
        np.concatenate([np.cumsum((counts * centers**k)[::-1])[::-1], [0.0]])[above]
        for k in range(3)
    ]
    return moments[2] - 2 * limits * moments[1] + limits**2 * moments[0]


class Entropy(Range):
    """The smallest loss of information by clipping at `±t` and merging bins into levels.

    `P` is the histogram of `|x|` up to `t` with all larger values in its last bin; `Q`
    spreads the sum of each level evenly over its nonempty bins.

        t = argmin KL(P || Q)

    over every sixteenth bin edge, with 2^(bits - 1) levels if values have both signs, else
    2^bits.

    Source: Migacz, "8-bit Inference with TensorRT" (GTC 2017).

    >>> counts = np.exp(-np.linspace(0, 10, 2048) ** 2) * 1e6 // 1; counts[-1] = 1
    >>> low, high = Entropy()(counts, np.linspace(0, 10, 2049))
    >>> low, 2 < high < 6
    (0.0, True)
    """

    def __call__(self, counts, edges, bits=8):
        """The range of all values, clipped at the best threshold."""
        low, high = _around_zero(edges[0], edges[-1])
        levels = 2**bits if low == 0 or high == 0 else 2 ** (bits - 1)
        reach = max(-low, high)
        if reach == 0:
            return low, high
        centers = np.abs(edges[:-1] + edges[1:]) / 2
        folded, _ = np.histogram(centers, len(counts), (0, reach), weights=counts)
        lengths = range(len(counts), min(levels, len(counts)) - 1, -16)
        best = min(lengths, key=lambda length: _divergence(folded, length, levels))
        threshold = reach * best / len(counts)
        return max(low, -threshold), min(high, threshold)


def _divergence(counts, length, levels):
    """`KL(P || Q)` if the first `length` bins become `levels`."""
    kept = counts[:length]
    full = kept > 0
    level = np.arange(length) * levels // length
    sums = np.bincount(level, kept, levels)
    filled = np.maximum(np.bincount(level, full, levels), 1)
    merged = np.where(full, (sums / filled)[level], 0.0)
    reference = kept.astype(np.float64)
    reference[-1] += counts[length:].sum()
    # Something must represent the values clipped into an empty last bin.
    merged[-1] = max(merged[-1], 1e-3) if reference[-1] else 0.0
    p, q = reference / reference.sum(), merged / max(merged.sum(), 1e-12)
    some = p > 0
    return float(np.sum(p[some] * np.log(p[some] / q[some])))


def _around_zero(low, high):
    return min(float(low), 0.0), max(float(high), 0.0)


get = Range.get
register(Range, Entropy, MSE, MinMax, Percentile)
