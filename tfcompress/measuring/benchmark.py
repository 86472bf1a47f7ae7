"""How fast and how large a model is on this host."""

import dataclasses
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

from tfcompress.core.kinds import (
    BuiltModel,
    Content,
    FilePath,
    Integer,
    Number,
    checked,
)
from tfcompress.runtime.delegate import loadable
from tfcompress.runtime.interpreter import Interpreter

_MEASURE = pathlib.Path(__file__).with_name("measure.py")


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Latency, memory and size of one model.

    Attributes:
        name: file or model name.
        size_bytes: of the file.
        num_threads: threads used.
        runs: number of timed runs of one batch.
        warm_up: runs before them that are not counted.
        median_ms, p50_ms, p90_ms, p99_ms, min_ms: of the timed runs.
        init_ms: from the file's bytes to a model that is ready to run.
        peak_memory_bytes: what loading and running added to the process's largest
            resident size.
        cpu: name of the processor.
    """

    name: str
    size_bytes: int
    num_threads: int
    runs: int
    warm_up: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    min_ms: float
    init_ms: float
    peak_memory_bytes: int
    cpu: str

    @property
    def median_ms(self):
        """The 50th percentile, the number to quote."""
        return self.p50_ms

    def to_dict(self):
        """Plain numbers and strings."""
        return {**dataclasses.asdict(self), "median_ms": self.median_ms}

    def to_json(self, **kwargs):
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), **kwargs)

    def __str__(self):
        return (
            f"{self.name}: {self.median_ms:.3f} ms median (p90 {self.p90_ms:.3f}, p99 "
            f"{self.p99_ms:.3f}, {self.runs} runs, {self.num_threads} threads), loads in "
            f"{self.init_ms:.1f} ms, {self.size_bytes:,} bytes, "
            f"{self.peak_memory_bytes / 2**20:.1f} MB memory, {self.cpu}"
        )


@checked
def benchmark(
    model: BuiltModel() | FilePath("a .tflite file") | Content("one"),
    num_threads: Integer(1) = 1,
    runs: Integer(1) = 50,
    warm_up: Integer(0) = 5,
    min_seconds: Number(0) = 0.5,
):
    """Times a model in LiteRT, in a process of its own.

    A fresh process makes memory figures comparable: nothing of TensorFlow is loaded.

    Args:
        model: path of a `.tflite` file, its bytes, or a Keras model, which is exported
            as float32 first.
        num_threads: threads that kernels may use.
        runs: timed runs at least.
        warm_up: runs before them.
        min_seconds: goes on with timed runs until this much time has passed.

    Returns:
        A `Benchmark`.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if the file is not a TFLite model, or a number is out of range.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> tfc.benchmark(model, runs=10, min_seconds=0).median_ms > 0
        True
    """
    with tempfile.TemporaryDirectory() as folder:
        path, label = _as_file(model, pathlib.Path(folder))
        Interpreter(path, num_threads).close()
        size_bytes = path.stat().st_size
        content, delegate = loadable(path.read_bytes())
        path = pathlib.Path(folder) / "loadable.tflite"
        path.write_bytes(content)
        task = {
            "path": str(path),
            "delegate": delegate,
            "num_threads": num_threads,
            "runs": runs,
            "warm_up": warm_up,
            "min_seconds": min_seconds,
        }
        child = subprocess.run(
            [sys.executable, "-P", str(_MEASURE), json.dumps(task)],
            capture_output=True,
            text=True,
            check=False,
        )
        if child.returncode:
            raise RuntimeError(
                f"The benchmark of {label} ended with code {child.returncode}: "
                f"{child.stderr.strip()[-300:]}"
            )
        figures = json.loads(child.stdout.splitlines()[-1])
    return Benchmark(
        name=label,
        size_bytes=size_bytes,
        num_threads=num_threads,
        cpu=cpu_name(),
        **figures,
    )


def _as_file(model, folder):
    if isinstance(model, (str, os.PathLike)):
        return pathlib.Path(model), pathlib.Path(model).name
    path = folder / "model.tflite"
    if isinstance(model, (bytes, bytearray)):
        path.write_bytes(model)
        return path, "model"
    from tfcompress.export import export_tflite

    export_tflite(model, path, verify=False)
    return path, model.name


def cpu_name():
    """The processor's name, as the system tells it."""
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
