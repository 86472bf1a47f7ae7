"""The C code that decides where samples leave, on the cases also used for Java."""

import ctypes
import json
import subprocess

import build_native
import numpy as np
import pytest
from numpy.ctypeslib import ndpointer

from tfcompress.runtime.cascade import CASCADE
from tfcompress.tflite.metadata import set_metadata
from tfcompress.tflite.read import read, write

NATIVE = build_native.PROJECT / "android_demo/native"
SOURCES = [NATIVE / "exit_plan.c", NATIVE / "metadata.c"]
RESOURCES = build_native.PROJECT / "android_demo/core/src/test/resources"
MODEL = (RESOURCES / "cascade-1.tflite").read_bytes()
CASES = json.loads((RESOURCES / "cascade-1.json").read_text("utf-8"))["cascades"]


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    path = tmp_path_factory.mktemp("exit_plan") / "libexit_plan.so"
    command = [
        "cc",
        "-std=c11",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-O2",
        "-shared",
        "-fPIC",
    ]
    subprocess.run([*command, *SOURCES, "-o", path, "-lm"], check=True)
    library = ctypes.CDLL(path)
    library.exit_plan_read.restype = ctypes.c_void_p
    library.exit_plan_read.argtypes = [
        *(ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_char_p))
    ]
    library.exit_plan_leaves.restype = ctypes.c_bool
    library.exit_plan_leaves.argtypes = [
        *(ctypes.c_void_p, State, ndpointer(np.float32), ctypes.c_size_t)
    ]
    library.exit_plan_free.argtypes = [ctypes.c_void_p]
    return library


State = ctypes.c_longlong * 3


def _plan(native, content):
    """The plan and the error, each None if there is none."""
    error = ctypes.c_char_p()
    plan = native.exit_plan_read(content, len(content), ctypes.byref(error))
    return plan, error.value and error.value.decode()


def _model(about):
    file = read(MODEL)
    set_metadata(file, CASCADE, about)
    return write(file)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_samples_leave_where_python_lets_them(native, case):
    plan, error = _plan(native, _model(case["about"]))
    assert error is None
    shape = len(case["about"]["stages"]), -1, case["classes"]
    answers = np.array(case["answers"], "float32").reshape(shape)
    left = []
    for sample in answers.transpose(1, 0, 2):
        state = State()
        leaves = (
            native.exit_plan_leaves(
                plan, state, np.ascontiguousarray(answer), len(answer)
            )
            for answer in sample
        )
        left.append(list(leaves).index(True))
    native.exit_plan_free(plan)
    assert left == case["exits"]


ABOUT = CASES[0]["about"]


@pytest.mark.parametrize(
    "about",
    [
        {**ABOUT, "rule": "luck"},
        {**ABOUT, "outputs": "odds"},
        {**ABOUT, "thresholds": [0.5]},
        {**ABOUT, "thresholds": [0.5, "0.5"]},
        {**ABOUT, "thresholds": [0.5, float("inf")]},
        {**ABOUT, "thresholds": 0.5},
        {**ABOUT, "stages": [], "thresholds": []},
        {**ABOUT, "stages": ["a", "b", 3]},
        {**ABOUT, "stages": ["a", "b", 'c"']},
        {**ABOUT, "more": {"deep": 1}},
        {key: value for key, value in ABOUT.items() if key != "rule"},
        {},
        [],
        "confidence",
    ],
)
def test_other_plans_are_refused(native, about):
    plan, error = _plan(native, _model(about))
    assert plan is None
    assert error.startswith("the plan of the cascade is not understood")


def test_other_files_are_refused(native):
    assert _plan(native, b"0000TFL")[1].startswith("not a TFLite model")
    assert _plan(native, MODEL[:500])[1].startswith("the model is damaged")
    file = read(MODEL)
    file.metadata = [e for e in file.metadata if e.name != CASCADE.encode()]
    assert _plan(native, write(file))[1] == "the model has no metadata of that name"


def test_damaged_files_under_sanitizers(tmp_path):
    program = tmp_path / "check"
    check = build_native.PROJECT / "android_demo/tests/exit_plan_check.c"
    command = ["cc", "-std=c11", "-g", "-O1", "-fsanitize=address,undefined"]
    command += ["-fno-sanitize-recover=all", f"-I{NATIVE}", check, *SOURCES, "-lm"]
    subprocess.run([*command, "-o", program], check=True)
    done = subprocess.run(
        [program, RESOURCES / "cascade-1.tflite"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    num_read, num_refused = map(int, done.stdout.split())
    assert num_read + num_refused == 9 * len(MODEL) + 1
    assert min(num_read, num_refused) > len(MODEL) // 4
