"""Costs of members, as sums of terms."""

import itertools

import numpy as np
import pytest

from tests.search import problems
from tfcompress.search.costs import costs_of

X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")


def test_all_members_cost_what_the_proxy_says():
    dimensions = {
        "channels": [0.5],
        "bits": {"a": [4], "b": [2]},
        "sparsity": {"b": [0.5], "head": [0.75]},
    }
    study = problems.Scored(problems.three_layers(), dimensions, X, np.zeros(16, int))
    rows = study.space.flat()
    assert len(rows) == 6
    macs, kernels = costs_of(study.proxy, rows, {"macs": 10, "kernel_bytes": 20})
    assert (macs.limit, kernels.limit) == (10, 20)
    for places in itertools.product(range(2), repeat=6):
        member = study.space.member(places)
        assert macs(places) == study.proxy.macs(member)
        assert kernels(places) == pytest.approx(study.proxy.size_bytes(member))


def test_macs_by_hand():
    study = problems.Scored(
        problems.three_layers(), {"channels": [0.5]}, X, np.zeros(16, int)
    )
    rows = study.space.flat()
    (cost,) = costs_of(study.proxy, rows, {"macs": 1})
    for halved in ([], ["a"], ["b"], ["a", "b"]):
        a, b = 4 / (1 + ("a" in halved)), 8 / (1 + ("b" in halved))
        places = [int(name in halved) for _, name, _ in rows]
        assert cost(places) == 3 * a + a * b + b * 2
