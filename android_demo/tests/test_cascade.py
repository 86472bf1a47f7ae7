"""Compares cascades in Java and C, with TFLite's own Android library, with Python."""

import dataclasses
import subprocess

import build_native
import keras
import numpy as np
import pytest
from keras import layers
from machine import OUTPUT

import tfcompress as tfc
from tfcompress.runtime.cascade import CASCADE
from tfcompress.runtime.interpreter import quantized
from tfcompress.tflite.metadata import metadata, set_metadata
from tfcompress.tflite.read import read, write

DEMO = build_native.PROJECT / "android_demo"
APP = DEMO / "app/src/main/java/org/tfcompress/benchmark"
SOURCES = [
    *(DEMO / "core/src/main/java/org/tfcompress/benchmark/core").glob("*.java"),
    *(APP / f"{name}.java" for name in ("TfLiteCascade", "TfLiteSession")),
    *(APP / f"{name}.java" for name in ("NativeDelegate", "NativeDelegates")),
    DEMO / "tests/CascadeCheck.java",
]
CPUS = ("cortex-a72", "cortex-a76", "neoverse-n1")
JARS = [
    OUTPUT / f"libraries/{name}-2.16.1.classes.jar"
    for name in ("tensorflow-lite", "tensorflow-lite-api")
]
# Means of colours differ, so that exits that average positions give different answers.
RNG = np.random.default_rng(3)
X = RNG.normal(size=(60, 8, 8, 3)) + 2 * RNG.normal(size=(60, 1, 1, 3))
# Other samples for thresholds, so that no sample lies exactly on one.
X, SAMPLES = np.split(X.astype("float32"), [40])


def _exits(**options):
    """A network with a skip from the first stage into later ones, and three exits."""
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 3), name="image")
    y = a = layers.Conv2D(8, 3, padding="same", activation="relu", name="a")(x)
    y = layers.Conv2D(8, 3, padding="same", name="b")(y)
    y = layers.ReLU(name="c")(layers.Add()([a, y]))
    y = layers.Concatenate()([layers.MaxPooling2D(name="pool")(y), x[:, ::2, ::2]])
    y = layers.Flatten()(layers.Conv2D(8, 3, name="d")(y))
    model = keras.Model(x, layers.Dense(4, **options)(y))
    exits = tfc.dynamic.EarlyExit(model, at=["a", "pool"])
    rng = np.random.default_rng(4)
    for variable in exits.network.trainable_weights:
        variable.assign(variable + 0.2 * rng.normal(size=variable.shape))
    return exits


def _write(path, precision, rule, **options):
    exits = _exits(**options)
    plan = exits.calibrate(SAMPLES, macs=0.8, rule=rule)
    if rule == "patience":
        plan = dataclasses.replace(plan, thresholds=(1, 1))
    tfc.dynamic.export_cascade(exits, plan, path, precision, SAMPLES)


CASES = {
    "float32": ("float32", "confidence", {}),
    "entropy": ("float32", "entropy", {"activation": "softmax"}),
    "patience": ("float32", "patience", {}),
    # The kernels of softmax round differently on arm64.
    "int8": ("int8", "confidence", {}),
}
PAIRS = [(name, backend) for name in CASES for backend in ("XNNPACK", "CPU")]
# Python's LiteRT runs XNNPACK's kernels; TFLite's own round int8 values differently.
PAIRS.remove(("int8", "CPU"))


@pytest.fixture(scope="module")
def cascade(request, tmp_path_factory):
    """The path of a cascade, and Python's answers for its inputs."""
    precision, rule, options = CASES[request.param]
    path = tmp_path_factory.mktemp("cascades") / f"{request.param}.tflite"
    _write(path, precision, rule, **options)
    with tfc.Interpreter(path, signature="exit_1") as first:
        (detail,) = first.input_details.values()
    path.with_suffix(".in").write_bytes(quantized(X, detail).tobytes())
    expected = tfc.runtime.Cascade(path).run(X)
    assert len(set(expected.exits)) == (2 if rule == "patience" else 3)
    return path, expected


@pytest.fixture(scope="module")
def class_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cascade_classes")
    path = ":".join(map(str, [*JARS, folder]))
    assert all(jar.exists() for jar in JARS), f"no {JARS}: run 'make android' first"
    subprocess.run(
        ["javac", "-nowarn", "-d", folder, "-cp", path, *SOURCES], check=True
    )
    return path


def _java(machine, class_path, *words):
    libraries = f"{machine.shim}:{machine.built}:{machine.library.parent}"
    return subprocess.run(
        [
            *("java", f"-Djava.library.path={libraries}", "-cp", class_path),
            *("org.tfcompress.benchmark.CascadeCheck", *words),
        ],
        env={"LD_LIBRARY_PATH": libraries, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(("cascade", "backend"), PAIRS, indirect=["cascade"])
def test_java(x86_64, cascade, class_path, tmp_path, backend):
    path, expected = cascade
    output = tmp_path / "out"
    done = _java(x86_64, class_path, backend, path, path.with_suffix(".in"), output)
    assert done.returncode == 0, done.stderr
    _check(output.read_bytes(), done.stdout, 1, expected, path.stem)


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize(("cascade", "backend"), PAIRS, indirect=["cascade"])
def test_c(arm64, cascade, tmp_path, backend, cpu):
    path, expected = cascade
    output = tmp_path / "out"
    files = (path, path.with_suffix(".in"), output)
    done = arm64.execute("run_cascade", arm64.library, backend.lower(), *files, cpu=cpu)
    assert done.returncode == 0, done.stderr
    _check(output.read_bytes(), done.stdout, 0, expected, path.stem)


def _check(content, exits, first, expected, name):
    y = np.frombuffer(content, "float32").reshape(expected.outputs.shape)
    np.testing.assert_array_equal(list(map(int, exits.split())), expected.exits + first)
    if name == "int8":
        np.testing.assert_array_equal(y, expected.outputs)
    else:
        np.testing.assert_allclose(y, expected.outputs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("stages", "in_java", "in_c"),
    [
        (["exit_1", "exit_9", "exit_3"], "has no stage exit_9", "are not those of"),
        (["exit_1", "exit_3", "exit_2"], "reads carried_", "are not those of"),
        (["exit_3", "exit_2"], "takes one input", "are not those of"),
        (["exit_1"], "thresholds must be", "is not understood"),
        (None, "has no metadata", "has no metadata"),
    ],
)
@pytest.mark.parametrize("cascade", ["float32"], indirect=True)
def test_errors(x86_64, cascade, class_path, tmp_path, stages, in_java, in_c):
    file = read(cascade[0].read_bytes())
    about = metadata(cascade[0].read_bytes(), CASCADE)
    count = max(len(stages or ()) - 1, 1)
    changed = {**about, "stages": stages, "thresholds": about["thresholds"][:count]}
    set_metadata(file, CASCADE if stages else "other", changed)
    if not stages:
        file.metadata = [e for e in file.metadata if e.name != CASCADE.encode()]
    path = tmp_path / "changed.tflite"
    path.write_bytes(write(file))
    words = (path, cascade[0].with_suffix(".in"), tmp_path / "out")
    done = _java(x86_64, class_path, "CPU", *words)
    assert in_java in done.stderr
    done = x86_64.execute("run_cascade", x86_64.library, "cpu", *words)
    assert done.returncode == 1
    assert in_c in done.stderr
    assert not (tmp_path / "out").exists()
