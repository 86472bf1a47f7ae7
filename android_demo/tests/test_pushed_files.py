"""What the driver gives the app, read by the app's own Java."""

import pathlib
import shlex
import shutil
import subprocess

import build_native
import numpy as np
import pytest

from tfcompress.measuring.android.app_runner import AppRunner
from tfcompress.measuring.android.examples import Examples
from tfcompress.measuring.android.plan import Plan

CORE = build_native.PROJECT / "android_demo/core/src/main/java"
CHECK = build_native.PROJECT / "android_demo/tests/ManifestCheck.java"


class Recorder:
    """Takes the place of an `Adb`: files go to a folder, all models fail at once."""

    serial = "P8"

    def __init__(self, folder):
        self.folder = folder
        self.commands = []

    def push(self, source, target):
        shutil.copy(source, self.folder / pathlib.PurePosixPath(target).name)

    def checked(self, command):
        self.commands.append(shlex.split(command))
        return ""

    def shell(self, command):
        return 0, '{"error": "none of the models runs"}'


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    sources = [*CORE.rglob("*.java"), CHECK]
    subprocess.run(["javac", "-nowarn", "-d", folder, *sources], check=True)
    return folder


def test_the_core_reads_what_is_pushed(cases, classes, tmp_path):
    for name in ("scratch", "device"):
        (tmp_path / name).mkdir()
    adb = Recorder(tmp_path / "device")
    plan = Plan("cpu", num_threads=3, warm_up=2, runs=7, seconds=1.5)
    path, _ = cases["int8"]
    x = np.random.default_rng(2).normal(size=(4, 32, 32, 3)).astype("float32")
    examples = Examples(path, x, np.array([3, 8, 0, 9]))
    runner = AppRunner(adb, plan, "tfcompress-1", tmp_path / "scratch")
    run, _ = runner.run('a "b" ü', path.read_bytes(), examples)
    assert run["error"] == "none of the models runs"
    start = adb.commands[-1]
    assert start[:2] == ["am", "start"]
    assert start[start.index("folder") + 1] == "tfcompress-1"
    command = ["java", "-Dfile.encoding=UTF-8", "-cp", classes]
    command += ["org.tfcompress.benchmark.core.ManifestCheck", tmp_path / "device"]
    found = subprocess.run(
        [*command, start[start.index("plan") + 1]],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.splitlines()
    assert found[0] == f'a "b" ü {path.stat().st_size}'
    assert found[1] == "4 8"
    assert float(found[2]) == pytest.approx(examples.expected[0][1, 2])
    assert found[3:] == ["CPU 3 2", "7 1.5 true"]
