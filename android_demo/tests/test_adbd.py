"""The driver through the real adb to a real adbd, which runs the runner for x86_64."""

import contextlib
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import threading
import time

import build_native
import keras
import numpy as np
import pytest
from machine import OUTPUT

import tfcompress as tfc
from tfcompress.measuring.android.adb import Adb, AdbError, Disconnected
from tfcompress.measuring.android.driver import benchmark_on_device
from tfcompress.measuring.android.plan import Plan

PORT = 5600
SERIAL = f"127.0.0.1:{PORT}"
PROGRAMS = {
    "getprop": 'case $1 in ro.product.cpu.abi) echo x86_64;; *model) echo Folder;; esac',
    "dumpsys": "echo '  level: 50'; echo '  temperature: 300'",
}  # fmt: skip


def _obstacle():
    """Why adbd cannot run here; None if it can."""
    if platform.machine() != "x86_64" or not shutil.which("apt-get"):
        return "needs Debian on x86_64"
    if not shutil.which("ip"):
        return "needs ip: apt install iproute2"
    if os.geteuid() or subprocess.run(["unshare", "-n", "-m", "true"]).returncode:
        return "needs root, and unshare to be allowed"
    return None


class Phone:
    """A folder that adbd presents as a device."""

    def __init__(self, folder, adb):
        self.folder = folder
        script = build_native.TOOLS / "phone.sh"
        self._process = subprocess.Popen(
            [script, adb, folder, str(PORT)], stdin=subprocess.PIPE, text=True
        )
        _wait_for(lambda: (folder / "pid").exists())

    def connect(self):
        _wait_for(lambda: "connected" in _adb("connect", SERIAL))
        _wait_for(lambda: f"{SERIAL}\tdevice" in _adb("devices"))
        return Adb.connect(SERIAL)

    def kill(self):
        os.kill(int((self.folder / "adbd.pid").read_text()), signal.SIGKILL)

    def start_again(self):
        _adb("disconnect", SERIAL)
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.connect()

    def close(self):
        self._process.stdin.close()
        self._process.wait(timeout=20)


def _adb(*arguments):
    return subprocess.run(["adb", *arguments], capture_output=True, text=True).stdout


def _wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def phone(x86_64, tmp_path_factory):
    if obstacle := _obstacle():
        pytest.skip(obstacle)
    fetch = [build_native.TOOLS / "fetch_trixie.sh", OUTPUT / "adb", "adb", "adbd"]
    subprocess.run(fetch, check=True)
    folder = tmp_path_factory.mktemp("phone")
    (folder / "system/bin").mkdir(parents=True)
    shutil.copytree(x86_64.shim, folder / "shim")
    for name, text in PROGRAMS.items():
        (folder / "system/bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "system/bin" / name).chmod(0o755)
    adb = tmp_path_factory.mktemp("bin") / "adb"
    adb.write_text(
        f"#!/bin/sh\nexec nsenter --net=/proc/$(cat {folder}/pid)/ns/net "
        f'{OUTPUT}/adb/run adb "$@"\n'
    )
    adb.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(adb.parent), prepend=os.pathsep)
        patch.setenv("HOME", str(adb.parent))
        patch.setenv("ANDROID_ADB_SERVER_PORT", "5099")
        phone = Phone(folder, OUTPUT / "adb")
        yield phone
        phone.close()


@pytest.fixture
def measure(phone, x86_64, cases):
    """A function that runs models of `cases`."""

    def function(adb, names, **options):
        models = {name: cases[name][0] for name in names}
        return benchmark_on_device(adb, models, OUTPUT, x86_64.library, **options)

    return function


def _left(adb):
    """What is in the storage of the device."""
    return adb.checked("ls /data/local/tmp").split()


def test_all_models_with_data(phone, measure, cases):
    adb = phone.connect()
    x = np.random.default_rng(2).normal(size=(4, 32, 32, 3)).astype("float32")
    names = list(cases)
    plan = Plan(runs=3, warm_up=1, seconds=0)
    document = measure(adb, names, plan=plan, data=(x, np.zeros(4, int)))
    assert document["device"]["name"] == "Folder"
    assert document["device"]["abi"] == "x86_64"
    assert document["runtime"]["version"] == "2.16.1"
    for name, run in zip(names, document["runs"], strict=True):
        assert run["error"] is None
        assert run["agreement"]["same_top1"] == 4
        limit = 1e-5 if name == "float32" else 0
        assert run["agreement"]["max_error"] <= limit
        assert run["accuracy"]["examples"] == 4
        assert len(run["samples_ms"]) == 3
        assert run["conditions"][1]["battery_celsius"] == 30
    assert _left(adb) == []


@pytest.mark.parametrize("cut", ["adbd dies", "adb disconnects"])
def test_cut_while_a_model_runs(phone, measure, tmp_path, cut):
    adb = phone.connect()
    unfinished = tmp_path / "unfinished.json"

    def cut_at_the_second_model():
        _wait_for(unfinished.exists)
        time.sleep(1)
        if cut == "adbd dies":
            phone.kill()
        else:
            _adb("disconnect", SERIAL)

    thread = threading.Thread(target=cut_at_the_second_model)
    thread.start()
    plan = Plan(seconds=3)
    with pytest.raises(
        Disconnected, match="Already measured: float32. Repeat the command"
    ):
        measure(adb, ["float32", "int8"], plan=plan, results=tmp_path)
    thread.join()
    adb = phone.start_again() if cut == "adbd dies" else phone.connect()
    assert len(_left(adb)) == 1
    said = []
    document = measure(
        adb, ["float32", "int8"], plan=plan, results=tmp_path, say=said.append
    )
    assert "1/2 float32: measured before" in said
    assert [run["error"] for run in document["runs"]] == [None, None]
    assert _left(adb) == []


def test_a_full_device(phone, measure, tmp_path, x86_64):
    adb = phone.connect()
    model = keras.Sequential([keras.Input((2000,)), keras.layers.Dense(1500)])
    tfc.export_tflite(model, tmp_path / "large.tflite", verify=False)
    with pytest.raises(AdbError, match=r"is full: model.tflite has 12,00.*tmpfs"):
        benchmark_on_device(
            adb, {"large": tmp_path / "large.tflite"}, OUTPUT, x86_64.library
        )
    assert _left(adb) == []


def test_a_runner_that_takes_too_long(phone, measure):
    adb = phone.connect()
    plan = Plan(seconds=1000, timeout=1)
    (run,) = measure(adb, ["float32"], plan=plan)["runs"]
    assert "it took longer than 1 seconds" in run["error"]
    assert _left(adb) == []


def test_statuses(phone):
    adb = phone.connect()
    assert adb.shell("echo out; exit 3 | true; (exit 3)") == (3, "out\n")
    with contextlib.suppress(FileNotFoundError):
        pathlib.Path("/tmp/not there").unlink()
    with pytest.raises(AdbError, match="not there"):
        adb.pull("/data/local/tmp/not there", "/tmp/not there")
