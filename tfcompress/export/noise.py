"""How far the outputs of a file are from a model's, relative to their own spread."""

import dataclasses

import numpy as np

# Fewer values than this do not tell the spread of a channel.
_LEAST_VALUES = 8
_LEAST_CORRELATION = 0.2
# Steps above this share of the values are a defect and do not excuse errors; softmax,
# sigmoid and tanh have fixed steps up to 1/128.
_MOST_STEP = 1 / 64
_FIXED_STEP = 1 / 128
# Channels that vary by less than this share of their values count as constant.
_LEAST_SPREAD = 1e-6
# Errors this small count as none; no integer scale has steps this small.
_TINY = 1e-9
_SMALL = 1e-6


@dataclasses.dataclass(frozen=True)
class OutputNoise:
    """The noise of an output, and the channels (last axis) that have too much.

        noise = sqrt(mean((file - model)²)) / sqrt(mean((model - mean of the channel)²))

    Attributes:
        noise: noise of the whole output; infinite if the model's output is constant and
            the file's differs from it by more than rounding.
        channels: the noise of each channel.
        noisy: indices of channels with more noise than usual.
        lost: indices of channels with noise above the limit that rounding of this output
            explains: their spread is small compared with the step of its scale, or with
            the spread of other channels.
        wrong: indices of channels with noise above the limit that rounding does not
            explain.
        follows: whether the file's values change with the inputs where the model's do.
        step: step of the file's integers; 0 for floats.
    """

    noise: float
    channels: np.ndarray
    noisy: tuple
    lost: tuple
    wrong: tuple
    follows: bool
    step: float


def output_noise(expected, actual, step, tolerance, limit):
    """Compares an output of a file with that of a model.

    Values that are not finite in the model are left out. Small samples are treated as one
    channel, and so are classes, whose noise is the share that differs divided by the share
    that would differ by chance.

    Args:
        expected: the model's output, an array `(samples, ...)`.
        actual: the file's output, likewise.
        step: step of the file's integers, 0 for floats.
        tolerance: a `Tolerance`.
        limit: the highest noise.

    Returns:
        An `OutputNoise`.
    """
    known = np.isfinite(expected)
    is_discrete = expected.dtype.kind in "iub"
    expected = np.where(known, expected, 0).astype(np.float64)
    errors = np.where(known, actual - expected, 0.0)
    allowed_step = min(step, max(_MOST_STEP * np.abs(expected).max(), _FIXED_STEP))
    follows = _follows(expected, expected + errors, known, allowed_step, tolerance)
    error, spread, reach = _moments(expected, errors, known)
    rounding = tolerance.floor * reach
    is_constant = spread <= _LEAST_SPREAD * reach
    error = np.where(is_constant & (error <= allowed_step + rounding), 0.0, error)
    channels = _ratio(error, spread)
    whole = _ratio(*(np.sqrt(np.mean(part**2)) for part in (error, spread)))
    if is_discrete:
        channels = np.minimum(channels, _disagreement(expected, errors, known))
        whole = min(whole, float(channels.max()))
        error = channels * spread
    noisy = error > tolerance.usual * spread + rounding + _TINY
    over = ~(error <= limit * spread + _TINY)
    common = tolerance.usual / 2 * np.sqrt(np.mean(spread**2))
    wrong = over & ~(error <= np.maximum(allowed_step, common) + rounding + _SMALL)
    return OutputNoise(
        noise=float(whole),
        channels=channels,
        noisy=_places(noisy & ~over),
        lost=_places(over & ~wrong),
        wrong=_places(wrong),
        follows=follows,
        step=step,
    )


def _moments(expected, errors, known):
    """RMS error, standard deviation and largest value of each channel."""
    parts = [_by_channel(part) for part in (expected, errors, known)]
    expected, errors, known = parts
    count = np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, expected - expected.sum(axis=0) / count, 0.0)
    # Errors that are not finite stay so, and exceed any limit.
    error, spread = (
        np.sqrt((part**2).sum(axis=0) / count) for part in (errors, centred)
    )
    return error, spread, np.abs(expected).max(axis=0)


def _by_channel(array):
    if array.ndim < 2 or array.size < _LEAST_VALUES * array.shape[-1]:
        return array.reshape(-1, 1)
    return array.reshape(-1, array.shape[-1])


def _disagreement(expected, errors, known):
    """How many classes differ, divided by how many would differ by chance."""
    _, counts = np.unique(expected[known], return_counts=True)
    chance = 1 - np.sum((counts / max(counts.sum(), 1)) ** 2)
    return _ratio(np.mean(errors[known] != 0), chance)


def _follows(expected, actual, known, step, tolerance):
    """Whether values change from sample to sample as the model's do.

    Changes that rounding may hide are ignored.
    """
    known = known.all(axis=0, keepdims=True)
    moved, follower = (
        np.where(known, part - part.mean(axis=0), 0.0) for part in (expected, actual)
    )
    size = np.sqrt(np.mean(moved**2))
    if size <= 2 * step + 2 * tolerance.floor * np.abs(expected).max() + _SMALL:
        return True
    scale = size * np.sqrt(np.mean(follower**2))
    return bool(np.mean(moved * follower) > _LEAST_CORRELATION * scale)


def _ratio(error, spread):
    """Error divided by spread; 0 / 0 is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error <= _TINY, 0.0, np.divide(error, spread))


def _places(flags):
    return tuple(int(place) for place in np.flatnonzero(flags))
