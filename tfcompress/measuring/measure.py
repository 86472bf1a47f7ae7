"""Times one file; run as a script by `benchmark`, without the rest of the package.

Takes a task as JSON and prints the figures as one line of JSON.
"""

import json
import pathlib
import resource
import sys
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter, load_delegate


def measure(path, num_threads, runs, warm_up, min_seconds, delegate=None):
    """The figures of `Benchmark` that only the measured process can know."""
    content = pathlib.Path(path).read_bytes()
    before = _forget_peak_memory()
    start = time.perf_counter()
    interpreter = Interpreter(
        model_content=content,
        num_threads=num_threads,
        experimental_delegates=[load_delegate(delegate)] if delegate else None,
    )
    interpreter.allocate_tensors()
    init_ms = (time.perf_counter() - start) * 1e3
    set_examples(interpreter)
    for _ in range(warm_up):
        interpreter.invoke()
    times = times_ms(interpreter.invoke, runs, min_seconds)
    p50, p90, p99 = np.percentile(times, [50, 90, 99])
    return {
        "runs": len(times),
        "warm_up": warm_up,
        "p50_ms": p50,
        "p90_ms": p90,
        "p99_ms": p99,
        "min_ms": min(times),
        "init_ms": init_ms,
        "peak_memory_bytes": max(_peak_memory() - before, 0),
    }


def set_examples(interpreter):
    """Gives each input of a loaded file values that its operations can take."""
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], _example(detail))


def times_ms(run, runs, min_seconds):
    """Milliseconds of each run, for at least this many runs and seconds."""
    times, end = [], time.perf_counter() + min_seconds
    while len(times) < runs or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def _forget_peak_memory():
    """Resets the peak if the system can, and returns the bytes in use now."""
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return _peak_memory()
    return _status("VmRSS")


def _peak_memory():
    try:
        return _status("VmHWM")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _status(key):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {key}")


def _example(detail):
    generator = np.random.default_rng(0)
    dtype, shape = np.dtype(detail["dtype"]), tuple(detail["shape"])
    if dtype.kind == "f":
        return generator.normal(size=shape).astype(dtype)
    if detail["quantization"][0]:
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype)
    return np.zeros(shape, dtype)


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
