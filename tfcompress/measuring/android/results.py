"""Results of benchmarks on devices, in the format that the Android app also writes.

`android_demo/core/src/main/resources/result.schema.json` describes it.
"""

import dataclasses
import datetime
import json
import pathlib
import re
import sys

import numpy as np

FORMAT = "tfcompress-benchmark"
VERSION = 1
_BACKENDS = ("cpu", "xnnpack", "nnapi", "gpu")
_RUNNERS = ("app", "shell", "python")


@dataclasses.dataclass(frozen=True)
class Run:
    """Measurements of one model; unknown values are None.

    Values that `tfc.benchmark` also measures have the same names.

    Attributes:
        name, sha256, size_bytes: name, hash and size of the model.
        backend, num_threads, warm_up: as in the plan.
        cpu: system on a chip, or the device if that is unknown.
        samples_ms: time of every timed run, in order.
        init_ms: time from the file's bytes to a model that is ready to run.
        first_ms: time of the first run, which is part of the warm-up.
        peak_memory_bytes: the most memory that opening and running the model added.
        pss_bytes: proportional set size of the process after the runs.
        num_nodes: number of operations of the model.
        delegated: how many of them each delegate took.
        accuracy: fraction of the examples that are answered correctly.
        same_top1: fraction of the examples with the same answer as Python's interpreter.
        max_error, mean_error: errors of outputs compared with Python's interpreter.
        cancelled: whether the user stopped it.
        error: why some measurements are missing.
    """

    name: str
    sha256: str
    size_bytes: int
    backend: str
    num_threads: int
    warm_up: int
    cpu: str
    samples_ms: tuple
    init_ms: float | None
    first_ms: float | None
    peak_memory_bytes: int | None
    pss_bytes: int | None
    num_nodes: int | None
    delegated: dict
    accuracy: float | None
    same_top1: float | None
    max_error: float | None
    mean_error: float | None
    cancelled: bool
    error: str | None

    @property
    def runs(self):
        """Number of timed runs."""
        return len(self.samples_ms)

    @property
    def median_ms(self):
        """The 50th percentile, the number to quote."""
        return self.p50_ms

    @property
    def p50_ms(self):
        """Half of the runs are at least as fast."""
        return self._percentile(50)

    @property
    def p90_ms(self):
        """90 % of the runs are at least as fast."""
        return self._percentile(90)

    @property
    def p95_ms(self):
        """95 % of the runs are at least as fast."""
        return self._percentile(95)

    @property
    def p99_ms(self):
        """99 % of the runs are at least as fast."""
        return self._percentile(99)

    @property
    def min_ms(self):
        """The fastest run."""
        return self._percentile(0)

    @property
    def max_ms(self):
        """The slowest run."""
        return self._percentile(100)

    def _percentile(self, percent):
        if not self.samples_ms:
            return None
        return float(np.percentile(self.samples_ms, percent))

    def to_dict(self):
        """Plain numbers and strings."""
        names = "runs median_ms p50_ms p90_ms p95_ms p99_ms min_ms max_ms".split()
        return {
            **dataclasses.asdict(self),
            **{name: getattr(self, name) for name in names},
        }

    def to_json(self, **kwargs):
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), **kwargs)


@dataclasses.dataclass(frozen=True)
class Results:
    """The measurements of one benchmark on one device.

    Attributes:
        started_at: date in RFC 3339.
        device: name of the device.
        system: operating system, such as `Android 14 (API 34)`.
        runtime: name and version of the library that ran the models.
        runner: `app`, `shell` or `python`.
        runs: a `Run` for each model, in the order in which they were measured.
    """

    started_at: str
    device: str
    system: str
    runtime: str
    runner: str
    runs: tuple


def read_results(source):
    """Reads and checks a file of results.

    Args:
        source: path of the file, or its text.

    Returns:
        `Results`.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if it is not such a file, has another version, or a value violates the
            format; the error names it, such as `result.runs[2].samples_ms`.

    Example:
        >>> read_results('{"format": "other"}')
        Traceback (most recent call last):
        ValueError: result.format must be 'tfcompress-benchmark'; got 'other'.
    """
    is_text = isinstance(source, str) and source.lstrip().startswith("{")
    if is_text:
        return _parse(source)
    try:
        return _parse(pathlib.Path(source).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(source)!r} cannot be read: {error}") from error


def _parse(text):
    try:
        content = json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply for results.") from error
    except ValueError as error:
        raise ValueError(f"it is not JSON, or is truncated ({error}).") from error
    return results(content)


def _refuse(constant):
    raise ValueError(f"JSON has no number {constant}")


def results(content):
    """`Results` from parsed JSON, checked like a file by `read_results`."""
    result = _Object(content, "result")
    result.one_of("format", [FORMAT])
    if result.whole("version") != VERSION:
        raise result.error("version", f"{VERSION}; use the app of the same release")
    device, runtime = result.object("device"), result.object("runtime")
    device.one_of("kind", ["android", "host"])
    device.text("abi")
    device.whole("num_cores", least=1)
    cpu = device.text("soc", optional=True) or device.text("name")
    plan = _plan(result.object("plan"))
    return Results(
        started_at=_date(result, "started_at"),
        device=device.text("name"),
        system=device.text("system"),
        runtime=f"{runtime.text('name')} {runtime.text('version')}",
        runner=runtime.one_of("runner", _RUNNERS),
        runs=tuple(_run(run, plan, cpu) for run in result.objects("runs")),
    )


def _date(result, key):
    text = result.text(key)
    try:
        zone = datetime.datetime.fromisoformat(text).tzinfo
    except ValueError:
        zone = None
    if zone is None:
        raise result.error(key, "a date such as 2026-11-28T20:01:24Z")
    return text


def _plan(plan):
    plan.whole("runs", least=1)
    plan.number("seconds")
    return {
        "backend": plan.one_of("backend", _BACKENDS),
        "num_threads": plan.whole("num_threads", least=1),
        "warm_up": plan.whole("warm_up"),
    }


def _run(run, plan, cpu):
    model = run.object("model")
    sha256 = model.text("sha256")
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise model.error("sha256", "64 hexadecimal digits in lower case")
    return Run(
        name=model.text("name"),
        sha256=sha256,
        size_bytes=model.whole("size_bytes"),
        cpu=cpu,
        samples_ms=run.numbers("samples_ms"),
        init_ms=run.number("init_ms", optional=True),
        first_ms=run.number("first_ms", optional=True),
        **_memory(run.object("memory", optional=True)),
        **_nodes(run.object("nodes", optional=True)),
        **_answers(run),
        cancelled=run.boolean("cancelled"),
        error=run.text("error", optional=True),
        **plan,
    )


def _memory(memory):
    if memory is None:
        return {"peak_memory_bytes": None, "pss_bytes": None}
    before = memory.whole("before_bytes", optional=True)
    peak = memory.whole("peak_bytes", optional=True)
    added = None if before is None or peak is None else max(peak - before, 0)
    return {
        "peak_memory_bytes": added,
        "pss_bytes": memory.whole("pss_bytes", optional=True),
    }


def _nodes(nodes):
    if nodes is None:
        return {"num_nodes": None, "delegated": {}}
    delegated = nodes.object("delegated")
    return {
        "num_nodes": nodes.whole("total"),
        "delegated": {name: delegated.whole(name) for name in delegated.values},
    }


def _answers(run):
    accuracy = run.object("accuracy", optional=True)
    agreement = run.object("agreement", optional=True)
    return {
        "accuracy": accuracy and _part(accuracy, "correct"),
        "same_top1": agreement and _part(agreement, "same_top1"),
        "max_error": agreement and agreement.number("max_error"),
        "mean_error": agreement and agreement.number("mean_error"),
    }


def _part(counts, key):
    examples = counts.whole("examples", least=1)
    count = counts.whole(key)
    if count > examples:
        raise counts.error(key, f"at most the number of examples, {examples}")
    return count / examples


class _Object:
    """A JSON object whose values are read by type; errors name their place."""

    def __init__(self, values, place):
        if not isinstance(values, dict):
            raise ValueError(f"{place} must be an object; got {_shown(values)}.")
        self.values = values
        self.place = place

    def error(self, key, expected):
        got = (
            f"got {_shown(self.values[key])}" if key in self.values else "it is missing"
        )
        return ValueError(f"{self.place}.{key} must be {expected}; {got}.")

    def _lacks(self, key, optional):
        return optional and self.values.get(key) is None

    def text(self, key, optional=False):
        if self._lacks(key, optional):
            return None
        if not isinstance(self.values.get(key), str):
            raise self.error(key, "text")
        return self.values[key]

    def one_of(self, key, choices):
        if self.values.get(key) not in choices:
            raise self.error(key, " or ".join(map(repr, choices)))
        return self.values[key]

    def number(self, key, optional=False):
        if self._lacks(key, optional):
            return None
        if not _is_number(self.values.get(key)):
            raise self.error(key, "a number")
        return float(self.values[key])

    def whole(self, key, least=0, optional=False):
        if self._lacks(key, optional):
            return None
        value = self.values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.error(key, f"a whole number of at least {least}")
        return value

    def boolean(self, key):
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self.error(key, "true or false")
        return value

    def numbers(self, key):
        if not all(map(_is_number, self._list(key))):
            raise self.error(key, "a list of numbers")
        return tuple(map(float, self.values[key]))

    def object(self, key, optional=False):
        if self._lacks(key, optional):
            return None
        if key not in self.values:
            raise self.error(key, "an object")
        return _Object(self.values[key], f"{self.place}.{key}")

    def objects(self, key):
        return [
            _Object(value, f"{self.place}.{key}[{index}]")
            for index, value in enumerate(self._list(key))
        ]

    def _list(self, key):
        if not isinstance(self.values.get(key), list):
            raise self.error(key, "a list")
        return self.values[key]


def _is_number(value):
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) <= sys.float_info.max


def _shown(value):
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
