"""usage: python tests/dynamic/phone_cases.py

Writes Python's decisions for cascades and policies, for the tests of the Android demo,
whose Java and C must decide the same: cascade-1.json, the model cascade-1.tflite and
policy-1.json in android_demo/core/src/test/resources.
"""

import dataclasses
import json
import pathlib

import keras
import numpy as np
from keras import layers

import tfcompress as tfc
from tfcompress.core.nouns import ExitRule
from tfcompress.dynamic.thresholds import ExitPlan
from tfcompress.runtime.cascade import CASCADE
from tfcompress.tflite.metadata import metadata

FOLDER = pathlib.Path(__file__).parents[2] / "android_demo/core/src/test/resources"
CASES, MODEL = FOLDER / "cascade-1.json", FOLDER / "cascade-1.tflite"
STAGES = ["exit_1", "exit_2", "exit_3"]
POINTS = [
    tfc.dynamic.OperatingPoint({"width": 1.0}, 100.0, 0.90, 4.0),
    tfc.dynamic.OperatingPoint({"width": 0.25}, 10.0, 0.80, 2.5),
    tfc.dynamic.OperatingPoint({"width": 0.5}, 40.0, 0.86, 1.25),
    tfc.dynamic.OperatingPoint({"width": 0.75}, 70.0, 0.85, 3.0),
]
# Each with the chosen width, or the smallest one given in the error.
LIMITS = [
    {},
    {"latency_ms": 2.0},
    {"latency_ms": 3.9},
    {"macs": 10.0},
    {"macs": 50.0, "latency_ms": 1.5},
    {"battery": 0.25},
    {"battery": 0.3, "headroom": 0.125},
    {"headroom": 0.0},
    {"battery": 0.5, "headroom": 0.6},
    {"battery": 0.5, "comfortable": 1.0},
    {"battery": 0.0, "comfortable": 0.0},
    {"battery": 0.0, "latency_ms": 1.25},
    {"latency_ms": 0.5},
    {"macs": 9.0},
    {"latency_ms": 2.0, "macs": 30.0},
]


def write():
    """The paths of the files it writes."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    x = _write_model()
    cascade = tfc.runtime.Cascade(MODEL)
    about = metadata(MODEL.read_bytes(), CASCADE)
    cases = {
        "cascades": [
            *(_case(rule) for rule in ("confidence", "entropy", "patience")),
            {
                "name": "model",
                "about": about,
                "classes": 10,
                "inputs": x.ravel().tolist(),
                "answers": cascade.answers(x).ravel().tolist(),
                "exits": cascade.run(x).exits.tolist(),
            },
        ],
        "choices": [{"limits": limits, **chosen(limits)} for limits in LIMITS],
    }
    path = tfc.dynamic.Policy(POINTS).save(FOLDER / "policy-1.json")
    CASES.write_text(_lines(cases), encoding="utf-8")
    return CASES, MODEL, path


def _write_model():
    """A network that returns logits for small grey pictures, and pictures for it."""
    keras.utils.set_random_seed(0)
    x = (np.random.default_rng(1).integers(0, 17, (12, 8, 8, 1)) / 16).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(5, "relu", name="a"),
            layers.Dense(5, "relu", name="b"),
            layers.Dense(10),
        ]
    )
    exits = tfc.dynamic.EarlyExit(model, at=["a", "b"])
    exits.network.set_weights([3 * w for w in exits.network.get_weights()])
    plan = exits.calibrate(x, macs=0.88)
    # No sample should lie on a threshold.
    plan = dataclasses.replace(plan, thresholds=[t - 0.001 for t in plan.thresholds])
    tfc.dynamic.export_cascade(exits, plan, MODEL)
    return x


def _case(rule):
    """Random probabilities; many samples repeat an answer, one lies on a threshold."""
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(1, 20, 4)) + rng.normal(size=(3, 20, 4))
    logits = np.exp(2 * logits)
    probabilities = (logits / logits.sum(-1, keepdims=True)).astype("float32")
    thresholds = {
        "confidence": [float(probabilities[0, 7].max()), 0.75],
        "entropy": [0.5, 0.45],
        "patience": [1, 1],
    }
    about = {
        "rule": rule,
        "thresholds": thresholds[rule],
        "stages": STAGES,
        "outputs": "probabilities",
    }
    answers = probabilities.ravel().tolist()
    case = {"name": rule, "about": about, "classes": 4, "answers": answers}
    return {**case, "exits": exits_of(case)}


def answers_of(case):
    """Array `(exits, samples, classes)`."""
    shape = len(case["about"]["stages"]), -1, case["classes"]
    return np.array(case["answers"], "float32").reshape(shape)


def exits_of(case):
    """The exits that Python chooses for a case of probabilities."""
    rule = ExitRule.get(case["about"]["rule"])
    plan = ExitPlan(rule, tuple(case["about"]["thresholds"]), (), 0.0, 0.0)
    return plan.exits(answers_of(case)).tolist()


def chosen(limits):
    """The choices of Python's policy for limits."""
    try:
        return tfc.dynamic.Policy(POINTS).choose(**limits).setting
    except ValueError as error:
        return {"smallest": float(str(error).rsplit(" ", 1)[1].rstrip("."))}


def _lines(cases):
    """JSON with one line per case."""
    parts = [
        f'"{name}": [\n' + ",\n".join(map(json.dumps, some)) + "\n]"
        for name, some in cases.items()
    ]
    return "{" + ",\n".join(parts) + "}\n"


if __name__ == "__main__":
    print(*write(), sep="\n")
