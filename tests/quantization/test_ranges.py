import numpy as np
import pytest

from tfcompress import ranges

NUM_BINS = ranges.NUM_BINS


def histogram(values):
    return np.histogram(values, NUM_BINS)


def squared_error(values, low, high, bits):
    step = (high - low) / (2**bits - 1)
    zero = np.rint(-low / step)
    codes = np.clip(np.rint(values / step) + zero, 0, 2**bits - 1)
    return np.mean(np.square((codes - zero) * step - values))


@pytest.mark.parametrize("sign", [1, -1, 0], ids=["relu", "negative", "both signs"])
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_mse_is_nearly_the_best_of_all_ranges(sign, bits):
    values = np.random.default_rng(0).standard_t(4, 20000)
    values = sign * np.maximum(values, 0) if sign else values
    found = squared_error(values, *ranges.MSE()(*histogram(values), bits), bits)
    low, high = min(values.min(), 0), max(values.max(), 0)
    shares = np.linspace(0.05, 1, 40)
    best = min(
        squared_error(values, a * low, b * high, bits) for a in shares for b in shares
    )
    assert found <= 1.05 * best
    if bits == 3:
        assert found < 0.5 * squared_error(values, low, high, bits)


def test_percentile_by_hand():
    counts, edges = np.array([1, 3, 0, 0, 4, 2]), np.arange(-2.0, 5.0)
    assert ranges.Percentile(90)(counts, edges) == pytest.approx((-1.0, 3.5))
    assert ranges.Percentile(100)(counts, edges) == (-2.0, 4.0)


def test_entropy_keeps_what_is_even_and_clips_what_is_rare():
    even = np.full(NUM_BINS, 10.0)
    assert ranges.Entropy()(even, np.linspace(0, 1, NUM_BINS + 1)) == (0.0, 1.0)
    values = np.random.default_rng(0).normal(size=100_000)
    values[0] = 40.0
    low, high = ranges.Entropy()(*histogram(values))
    assert -high == low
    assert 3 < high < 8


def test_divergence_by_hand():
    # P = (1, 2, 3, 4) / 10 becomes Q = (1.5, 1.5, 3.5, 3.5) / 10 in two levels.
    p, q = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.15, 0.15, 0.35, 0.35])
    found = ranges._divergence(np.array([1.0, 2.0, 3.0, 4.0]), 4, 2)
    assert found == pytest.approx(np.sum(p * np.log(p / q)))
    # Clipped values join the last bin of P, but not Q.
    p = np.array([1, 2, 7]) / 10
    q = np.array([1, 2, 3]) / 6
    found = ranges._divergence(np.array([1.0, 2.0, 3.0, 4.0]), 3, 3)
    assert found == pytest.approx(np.sum(p * np.log(p / q)))


def test_bad_percentile():
    with pytest.raises(ValueError, match=r"got 30, expected a number in \(50, 100\]"):
        ranges.Percentile(30)
