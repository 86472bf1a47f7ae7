"""usage: tfcompress benchmark FILE … [flags]

Times .tflite files (or .keras models, exported as float32) on this host, on an Android
device connected by adb, or on both, side by side.

On a device, they are run by the app (--runner app), or by a program without an app
(--runner shell), which needs the files named by --native and --library: build/android and
an .aar of TFLite; android_demo/native/README.md describes how to get them. With --data,
the accuracy on the device is computed too, and the agreement of its outputs with this
host's.

Example:
  tfcompress benchmark model.tflite --threads 2 --json
  tfcompress benchmark float.tflite int8.tflite --device android --data eval.npz
  tfcompress benchmark float.tflite int8.tflite --device both --html page.html
"""

import pathlib
import tempfile

from absl import flags

from . import data, models

SUMMARY = "time models on this host or on an Android device"
ARGUMENTS = 1
MORE = True
# Backends of the app; asking it would import TensorFlow.
BACKENDS = ("xnnpack", "cpu", "nnapi", "gpu")


def define(values):
    """Flags of the command."""
    models.define(values)
    data.define(values)
    for name, default, least, text in (
        ("threads", 1, 1, "Threads that kernels may use."),
        ("runs", 50, 1, "Minimum number of timed runs."),
        ("warm_up", 5, 0, "Runs before the timed ones."),
        ("timeout", 600, 1, "Time limit of a model on the device, in seconds."),
    ):
        flags.DEFINE_integer(name, default, text, least, flag_values=values)
    flags.DEFINE_float(
        "seconds",
        0.5,
        "Minimum duration of the timed runs, in seconds.",
        0.0,
        flag_values=values,
    )
    flags.DEFINE_enum(
        "device", "host", ["host", "android", "both"], "Where models run.", values
    )
    flags.DEFINE_string(
        "serial", None, "Serial number of the device, if there are several.", values
    )
    flags.DEFINE_enum(
        "runner",
        "shell",
        ["shell", "app"],
        "What runs models on the device: a program, or the app.",
        values,
    )
    flags.DEFINE_enum(
        "backend",
        "xnnpack",
        BACKENDS,
        "Kernels on the device; nnapi and gpu only with the app.",
        values,
    )
    flags.DEFINE_string(
        "native", "build/android", "Folder written by build_native.", values
    )
    flags.DEFINE_string(
        "library",
        None,
        "TFLite for Android: libtensorflowlite_jni.so, or the .aar that contains it.",
        values,
    )
    flags.DEFINE_string(
        "results",
        None,
        "Folder for the device's results, where interrupted benchmarks resume.",
        values,
    )
    flags.DEFINE_string("html", None, "Also write a page with a table.", values)


def main(values, *paths):
    """Benchmarks the files."""
    from tfcompress.measuring.html_benchmark import write_html_benchmark

    _check(values)
    found = _measured(values, paths)
    if values.html:
        write_html_benchmark(values.html, found)
    is_single = values.device == "host" and len(found.rows) == 1
    return found.rows[0] if is_single else found


def _measured(values, paths):
    from tfcompress.measuring.benchmark import Benchmarks

    if values.device == "host":
        return Benchmarks(tuple(_on_host(values, path) for path in paths))
    with tempfile.TemporaryDirectory() as folder:
        files = _files(values, paths, pathlib.Path(folder))
        found = _on_device(values, files)
        rows = list(found.runs)
        if values.device == "both":
            rows = [*(_on_host(values, path) for path in files.values()), *rows]
    about = f"{found.device}, {found.system}, {found.runtime}, {values.backend}"
    return Benchmarks(tuple(rows), about)


def _check(values):
    from tfcompress.core.files import check_writable
    from tfcompress.measuring.android import shell_runner

    if values.device == "host" and (values.data or values.dataset):
        raise ValueError(
            "--data and --dataset are for --device android; on this host tfcompress "
            "compare computes the accuracy."
        )
    if values.runner == "shell" and values.backend not in shell_runner.BACKENDS:
        raise ValueError(
            f"--backend {values.backend} is for --runner app; with --runner shell "
            f"it is {' or '.join(shell_runner.BACKENDS)}."
        )
    if values.html:
        check_writable(values.html)


def _on_host(values, path):
    from tfcompress.measuring.benchmark import benchmark

    model = models.load(values, path)
    return benchmark(model, values.threads, values.runs, values.warm_up, values.seconds)


def _files(values, paths, folder):
    """`{label: .tflite file}`, with Keras models exported into the folder."""
    from tfcompress.export import export_tflite

    labels = [pathlib.Path(path).name for path in paths]
    if len(set(labels)) < len(labels):
        labels = list(paths)
    files = {}
    for label, path in zip(labels, paths, strict=True):
        model = models.load(values, path)
        if model is not path:
            exported = folder / f"{len(files)}.tflite"
            export_tflite(model, exported, verify=False)
            path = exported
        files[label] = path
    return files


def _on_device(values, files):
    from tfcompress.measuring.android.adb import Adb
    from tfcompress.measuring.android.driver import benchmark_on_device
    from tfcompress.measuring.android.plan import Plan
    from tfcompress.measuring.android.results import results

    from .progress import Narrator

    plan = Plan(
        values.backend,
        values.threads,
        values.warm_up,
        values.runs,
        values.seconds,
        values.timeout,
    )
    document = benchmark_on_device(
        Adb.connect(values.serial),
        files,
        values.native,
        values.library,
        values.runner,
        plan,
        data.load(values, "test"),
        values.results,
        Narrator(),
    )
    return results(document)
