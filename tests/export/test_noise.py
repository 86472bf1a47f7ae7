"""Noise of outputs, by hand."""

import numpy as np
import pytest

from tfcompress.export.noise import output_noise
from tfcompress.export.precisions import Tolerance

TOLERANCE = Tolerance(usual=0.1, most=0.3, of_signs=1.0, floor=1e-3)


def noise(expected, actual, step=0.0, limit=0.3):
    return output_noise(
        np.asarray(expected), np.asarray(actual), step, TOLERANCE, limit
    )


def column(spread, count=8):
    """Values of standard deviation `spread` around 0."""
    return np.resize([spread, -spread], count)


def test_noise_is_the_error_over_the_spread_of_the_channel_itself():
    expected = np.stack([column(1.0), 5 + column(2.0)], axis=1)
    actual = expected + np.array([0.2, 0.2])
    found = noise(expected, actual)
    np.testing.assert_allclose(found.channels, [0.2, 0.1])
    # 0.2² + 0.2² over 1² + 2²
    assert found.noise == pytest.approx(np.sqrt(0.08 / 5))
    assert (found.noisy, found.lost, found.wrong) == ((0,), (), ())


def test_noise_above_the_limit_is_wrong_in_one_channel_alone():
    expected = np.stack([column(1.0), column(1.0)], axis=1)
    found = noise(expected, expected + np.array([0.0, 0.31]))
    assert (found.noisy, found.lost, found.wrong) == ((), (), (1,))
    assert noise(expected, expected + np.array([0.0, 0.29])).noisy == (1,)


def test_channels_that_a_step_of_the_output_swallows_are_lost_and_not_wrong():
    # Boxes in pixels and scores in one tensor.
    expected = np.stack([160 + column(100.0), 0.5 + column(0.3)], axis=1)
    rounded = np.rint(expected / 1.25) * 1.25
    found = noise(expected, rounded, step=1.25)
    assert (found.noisy, found.lost, found.wrong) == ((), (1,), ())


def test_a_step_that_the_values_do_not_need_excuses_nothing():
    expected = np.stack([column(1.0), column(1.0)], axis=1)
    found = noise(expected, 0 * expected, step=4e6)
    assert found.wrong == (0, 1)
    assert not found.follows


def test_outputs_that_do_not_follow_the_inputs():
    expected = np.tile(np.arange(4.0), (8, 1)) + column(1.0)[:, None]
    assert noise(expected, expected).follows
    assert not noise(expected, np.tile(np.arange(4.0), (8, 1)), limit=9).follows
    # Rounding may hide changes of half a step.
    small = 100 + column(0.5)[:, None]
    assert noise(small, 100 + 0 * small, step=1.0).follows


def test_constant_channels_may_be_rounded_and_no_more():
    expected = np.full((8, 1), 0.5)
    assert noise(expected, expected + 0.004, step=0.004).noise == 0
    found = noise(expected, expected + 0.1, step=0.004)
    assert found.noise == np.inf
    assert found.wrong == (0,)


def test_few_values_are_those_of_one_channel():
    expected = np.array([[0.0, 10.0], [0.1, 10.1]])
    assert len(noise(expected, expected).channels) == 1
    assert noise(expected, expected + 0.5).wrong == ()


def test_classes_are_compared_by_how_many_differ():
    expected = np.array([0, 1, 2, 3] * 4)
    actual = expected.copy()
    actual[:3] = 3
    # 3 of 16 where chance would miss 3 of 4.
    assert noise(expected, actual).noise == pytest.approx((3 / 16) / (3 / 4))
    assert noise(expected, np.full(16, 3)).wrong == (0,)


def test_what_is_not_finite_in_the_model_is_left_out():
    expected = np.stack([column(1.0)], axis=1)
    actual = expected.copy()
    expected[0], actual[0] = np.inf, 7.0
    assert noise(expected, actual).noise == 0
    actual[1] = np.nan
    assert noise(expected, actual).wrong == (0,)


def test_what_a_precision_cannot_hold_of_large_values_is_lost_and_not_wrong():
    expected = 1000 + column(0.5)[:, None]
    assert noise(expected, expected + 0.9).lost == (0,)
    assert noise(expected, expected + 1.1).wrong == (0,)
