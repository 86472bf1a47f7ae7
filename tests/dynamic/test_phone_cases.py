"""Python's decisions on cascades and policies match the files used by Java and C."""

import json

import numpy as np
import pytest

import tfcompress as tfc
from tests.dynamic import phone_cases
from tfcompress.core.nouns import ExitRule
from tfcompress.runtime.cascade import CASCADE
from tfcompress.tflite.metadata import metadata

CASES = json.loads(phone_cases.CASES.read_text("utf-8"))
*RANDOM, MODEL = CASES["cascades"]


@pytest.mark.parametrize("case", RANDOM, ids=lambda case: case["name"])
def test_exits(case):
    assert phone_cases.exits_of(case) == case["exits"]
    # There is no exit before the first with which it could agree.
    assert set(case["exits"]) == ({1, 2} if case["name"] == "patience" else {0, 1, 2})


def test_only_the_sample_that_is_meant_to_lies_on_a_threshold():
    for case in RANDOM[:2]:
        scores = ExitRule.get(case["name"])(phone_cases.answers_of(case))[:2]
        distances = np.abs(scores - np.reshape(case["about"]["thresholds"], (2, 1)))
        assert (distances < 1e-3).sum() == (case["name"] == "confidence")


def test_model():
    cascade = tfc.runtime.Cascade(phone_cases.MODEL)
    x = np.array(MODEL["inputs"], "float32").reshape(-1, 8, 8, 1)
    np.testing.assert_allclose(
        cascade.answers(x), phone_cases.answers_of(MODEL), rtol=1e-4, atol=1e-5
    )
    assert cascade.run(x).exits.tolist() == MODEL["exits"]
    assert set(MODEL["exits"]) == {0, 1, 2}
    assert metadata(phone_cases.MODEL.read_bytes(), CASCADE) == MODEL["about"]
    scores = cascade.rule(cascade.probabilities(x))[:2]
    assert np.abs(scores - np.reshape(cascade.thresholds, (2, 1))).min() > 1e-4


def test_choices():
    policy = tfc.dynamic.Policy.load(phone_cases.FOLDER / "policy-1.json")
    assert policy.points == tfc.dynamic.Policy(phone_cases.POINTS).points
    found = [phone_cases.chosen(choice["limits"]) for choice in CASES["choices"]]
    assert found == [
        {key: value for key, value in choice.items() if key != "limits"}
        for choice in CASES["choices"]
    ]
    assert {} not in found
