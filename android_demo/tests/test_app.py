"""The driver and the app's own code, with TFLite's library, on both sides of an adb."""

import json
import subprocess
import time

import build_native
import numpy as np
import pytest
from machine import OUTPUT
from played_phone import Phone

from tfcompress.cli.main import run
from tfcompress.measuring.android.adb import Adb
from tfcompress.measuring.android.driver import benchmark_on_device
from tfcompress.measuring.android.plan import Plan

MODELS = OUTPUT / "models"


@pytest.fixture(scope="module")
def phone(x86_64, tmp_path_factory):
    """A simulated phone with the real app, in Robolectric."""
    assert (MODELS / "manifest.json").exists(), "run 'make android' first"
    phone = Phone(tmp_path_factory.mktemp("folder") / "phone")
    phone.script(runs=["in the real app"])
    log = phone.home / "log"
    command = [build_native.TOOLS / "test_screens", "--serve", phone.home]
    with log.open("w") as output, pytest.MonkeyPatch.context() as patch:
        app = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        while not (phone.home / "ready").exists():
            assert app.poll() is None, log.read_text()
            time.sleep(0.1)
        patch.setenv("PATH", str(phone.programs), prepend=":")
        patch.setenv("FAKE_ADB", str(phone.home))
        patch.delenv("ANDROID_SERIAL", raising=False)
        yield phone
        (phone.home / "stop").touch()
        assert app.wait(timeout=60) == 0, log.read_text()


def test_command(phone, tmp_path, capsys, monkeypatch):
    names = [
        f"digits_{kind}.tflite" for kind in ("float32", "int8", "binary", "encoded")
    ]
    digits = np.load(MODELS / "digits.npz")
    np.savez(tmp_path / "eval.npz", x_test=digits["x"], y_test=digits["y"])
    flags = ["--device", "android", "--runner", "app", "--data", tmp_path / "eval.npz"]
    flags += ["--runs", "7", "--seconds", "0", "--results", tmp_path / "r", "--json"]
    assert run(["benchmark", *(f"{MODELS}/{n}" for n in names), *map(str, flags)]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["name"] for row in rows] == names
    for row in rows:
        assert (row["error"], row["runs"], row["backend"]) == (None, 7, "xnnpack")
        assert 0 < row["min_ms"] <= row["median_ms"] and row["init_ms"] > 0
        assert row["accuracy"] > 0.9 and row["same_top1"] >= 359 / 360
        assert row["delegated"]["xnnpack"] > 0
    takes = [row["delegated"]["tfcompress"] > 0 for row in rows]
    assert takes == [False, False, True, True]
    document = json.loads((tmp_path / "r/result.json").read_text())
    assert document["runtime"] == {
        "name": "TFLite",
        "version": "2.16.1",
        "runner": "app",
    }
    assert phone.files == []


def test_what_the_app_cannot_open_is_an_error_of_that_model(phone, tmp_path):
    content = (MODELS / "digits_int8.tflite").read_bytes()
    (tmp_path / "half.tflite").write_bytes(content[: len(content) // 2])
    models = {
        'half "ü"': tmp_path / "half.tflite",
        "int8": MODELS / "digits_int8.tflite",
    }
    plan = Plan("cpu", num_threads=2, warm_up=3, runs=4, seconds=0)
    document = benchmark_on_device(Adb.connect(), models, runner="app", plan=plan)
    half, whole = document["runs"]
    assert half["model"]["name"] == 'half "ü"'
    assert half["error"].startswith("Failed in opening the model: ")
    assert whole["error"] is None
    assert (len(whole["warm_up_ms"]), len(whole["samples_ms"])) == (3, 4)
    assert whole["nodes"]["delegated"] == {"tfcompress": 0}


def test_a_plan_that_the_app_refuses(phone):
    models = {"model": MODELS / "digits_int8.tflite"}
    document = benchmark_on_device(
        Adb.connect(), models, runner="app", plan=Plan("gpu", runs=3, seconds=0)
    )
    assert "this app and device offer [XNNPACK, CPU" in document["runs"][0]["error"]
