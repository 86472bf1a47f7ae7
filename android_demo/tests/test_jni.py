"""The JNI library in a Java VM of this machine, with TFLite's own Java classes."""

import hashlib
import io
import subprocess
import zipfile

import build_native
import check_layout
import numpy as np
import pytest
from machine import OUTPUT

CLASS = (
    build_native.PROJECT
    / "android_demo/app/src/main/java/org/tfcompress/benchmark/NativeDelegates.java"
)
CHECK = build_native.PROJECT / "android_demo/tests/JniCheck.java"
API = OUTPUT / "libraries/tensorflow-lite-api-2.16.1.aar"
API_SHA256 = "885b95bc9e47a4aa5cf8e71523aed9b05e397cfef1ea09773f13fea8b649fcee"
ADDED = {"chain": (5, 1), "residual": (3, 11), "encoded": (1, 5), "float32": (0, 4)}


def _classes(content, path):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        path.write_bytes(archive.read("classes.jar"))
    return path


def _api():
    assert API.exists(), f"no {API}: run 'make android' first"
    content = API.read_bytes()
    assert hashlib.sha256(content).hexdigest() == API_SHA256, f"delete {API.parent}"
    return content


@pytest.fixture(scope="session")
def class_path(tmp_path_factory):
    if not CLASS.exists():
        pytest.skip(f"needs {CLASS}, a part of the app")
    folder = tmp_path_factory.mktemp("classes")
    jars = [
        _classes(check_layout.archive(), folder / "tflite.jar"),
        _classes(_api(), folder / "api.jar"),
    ]
    path = ":".join(map(str, [*jars, folder]))
    subprocess.run(["javac", "-d", folder, "-cp", path, CLASS, CHECK], check=True)
    return path


@pytest.mark.parametrize("name", ["chain", "residual", "encoded", "float32"])
def test_delegates_of_java(x86_64, cases, class_path, tmp_path, name):
    path, expected = cases[name]
    libraries = f"{x86_64.shim}:{x86_64.built}:{x86_64.library.parent}"
    done = subprocess.run(
        [
            *("java", f"-Djava.library.path={libraries}", "-cp", class_path),
            *("org.tfcompress.benchmark.JniCheck", path, path.with_suffix(".in")),
            tmp_path / "out",
        ],
        env={"LD_LIBRARY_PATH": libraries, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "libtensorflowlite_jni.so is not loaded" in lines[0]
    total, *taken = map(int, lines[1:])
    assert tuple(taken) == ADDED[name]
    assert sum(taken) <= total
    y = np.frombuffer((tmp_path / "out").read_bytes(), expected["xnnpack"].dtype)
    y = y.reshape(expected["xnnpack"].shape)
    if name == "float32":
        np.testing.assert_allclose(y, expected["xnnpack"], rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_array_equal(y, expected["xnnpack"])
