"""What a device can spend determines what runs."""

import pytest

from tfcompress.dynamic import OperatingPoint, Policy

POINTS = [
    OperatingPoint({"width": 1.0}, 100.0, 0.90, 4.0),
    OperatingPoint({"width": 0.25}, 10.0, 0.80, 1.0),
    OperatingPoint({"width": 0.5}, 40.0, 0.86, 2.0),
    OperatingPoint({"width": 0.75}, 70.0, 0.85, 3.0),
]


@pytest.mark.parametrize(
    ("budget", "width"),
    [
        ({}, 1.0),
        ({"latency_ms": 2.0}, 0.5),
        ({"latency_ms": 3.9}, 0.5),
        ({"macs": 10}, 0.25),
        ({"macs": 50, "latency_ms": 1.5}, 0.25),
        # Half of the comfortable level: 10 + 0.5 * 90 = 55.
        ({"battery": 0.25}, 0.5),
        ({"headroom": 0.0}, 0.25),
        ({"battery": 0.5, "headroom": 0.6}, 1.0),
        ({"battery": 0.5, "comfortable": 1.0}, 0.5),
        ({"battery": 1.0, "latency_ms": 1.0}, 0.25),
    ],
)
def test_the_most_accurate_within_the_budget(budget, width):
    assert Policy(POINTS).choose(**budget).setting == {"width": width}


def test_what_costs_more_and_is_no_better_is_left_out():
    assert [point.setting["width"] for point in Policy(POINTS).points] == [0.25, 0.5, 1]


def test_a_budget_that_nothing_meets_says_the_smallest():
    with pytest.raises(ValueError, match=r"within 0.5; the smallest is 1\."):
        Policy(POINTS).choose(latency_ms=0.5)
    with pytest.raises(ValueError, match=r"within 9; the smallest is 10\."):
        Policy(POINTS).choose(macs=9)


def test_the_smallest_is_of_those_that_other_limits_leave():
    swapped = [
        OperatingPoint({}, 10.0, 0.8, latency_ms=3.0),
        OperatingPoint({}, 20.0, 0.9, latency_ms=1.0),
    ]
    with pytest.raises(ValueError, match=r"within 15; the smallest is 20\."):
        Policy(swapped).choose(latency_ms=2.0, macs=15)


def test_latencies_must_have_been_measured():
    with pytest.raises(ValueError, match="not all points have a latency_ms"):
        Policy([OperatingPoint({}, 1.0, 0.9)]).choose(latency_ms=1)


def test_files(tmp_path):
    policy = Policy(POINTS)
    policy.save(tmp_path / "policy.json")
    assert Policy.load(tmp_path / "policy.json").points == policy.points
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="not a table of operating points"):
        Policy.load(tmp_path / "other.json")
    (tmp_path / "new.json").write_text('{"version": 2, "points": []}')
    with pytest.raises(ValueError, match="has version 2: expected 1"):
        Policy.load(tmp_path / "new.json")
