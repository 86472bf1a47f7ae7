"""Measures how fast and how large a model is on this host."""

import dataclasses
import json
import os
import pathlib
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
from tfcompress.core.text import Table, as_text
from tfcompress.runtime.delegate import loadable
from tfcompress.runtime.host import cpu_name
from tfcompress.runtime.interpreter import Interpreter

_MEASURE = pathlib.Path(__file__).with_name("measure.py")


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Latency, memory and size of one model.

    Attributes:
        name: file or model name.
        size_bytes: size of the file.
        num_threads: threads used.
        runs: number of timed runs of one batch.
        warm_up: runs before them that are not counted.
        median_ms, p50_ms, p90_ms, p99_ms, min_ms: percentiles and minimum of the timed
            runs.
        init_ms: time from the file's bytes to a model that is ready to run.
        peak_memory_bytes: how much loading and running added to the process's peak
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
    def median_ms(self) -> float:
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


@dataclasses.dataclass(frozen=True)
class Benchmarks:
    """Several models, measured on this host or on devices; prints as a table.

    Attributes:
        rows: objects with the attributes of `Benchmark`, and on devices also `accuracy`,
            `same_top1` and `error`; unknown values are None.
        about: the device and how it ran the models.
    """

    rows: tuple
    about: str = ""

    def to_dict(self):
        """Plain numbers, strings and lists."""
        return {"rows": [row.to_dict() for row in self.rows], "about": self.about}

    def to_json(self, **kwargs):
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), **kwargs)

    def table(self):
        """A `rich.table.Table`."""
        table = Table(caption=self.about or None)
        table.add_column("model")
        table.add_column("on")
        columns = {
            name: (attribute, form)
            for name, (attribute, form) in _COLUMNS.items()
            if any(getattr(row, attribute, None) is not None for row in self.rows)
        }
        for name in columns:
            table.add_column(name, justify="right")
        for row in self.rows:
            values = [
                getattr(row, attribute, None) for attribute, _ in columns.values()
            ]
            cells = [
                "–" if value is None else form(value)
                for value, (_, form) in zip(values, columns.values(), strict=True)
            ]
            table.add_row(row.name, row.cpu, *cells)
        return table

    def __str__(self):
        errors = [
            f"{row.name}: {row.error}"
            for row in self.rows
            if getattr(row, "error", None) is not None
        ]
        return as_text(self.table(), *errors, width=150)


def _milliseconds(value):
    return f"{value:.3f} ms"


_COLUMNS = {
    "size": ("size_bytes", lambda value: f"{value / 1000:,.1f} kB"),
    "median": ("p50_ms", _milliseconds),
    "p90": ("p90_ms", _milliseconds),
    "p99": ("p99_ms", _milliseconds),
    "min": ("min_ms", _milliseconds),
    "runs": ("runs", lambda value: f"{value:,}"),
    "threads": ("num_threads", str),
    "loads in": ("init_ms", lambda value: f"{value:.1f} ms"),
    "memory": ("peak_memory_bytes", lambda value: f"{value / 2**20:.1f} MB"),
    "accuracy": ("accuracy", "{:.2%}".format),
    "agrees": ("same_top1", "{:.2%}".format),
}


@checked
def benchmark(
    model: BuiltModel() | FilePath("a .tflite file") | Content("one"),
    num_threads: Integer(1) = 1,
    runs: Integer(1) = 50,
    warm_up: Integer(0) = 5,
    min_seconds: Number(0) = 0.5,
) -> Benchmark:
    """Times a model in LiteRT, in a separate process.

    A fresh process makes memory figures comparable: TensorFlow is not loaded.

    Args:
        model: path of a `.tflite` file, its bytes, or a Keras model, which is exported
            as float32 first.
        num_threads: threads that kernels may use.
        runs: minimum number of timed runs.
        warm_up: runs before the timed ones.
        min_seconds: timed runs continue until this much time has passed.

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
