"""Times one file; run as a script by `benchmark`, without the rest of the package.

Takes a task as JSON and prints the figures as one line of JSON.
"""

import json
import pathlib
import resource
import sys
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def measure(path, num_threads, runs, warm_up, min_seconds):
    """The figures of `Benchmark` that only the process itself can know."""
    content = pathlib.Path(path).read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    interpreter = Interpreter(model_content=content, num_threads=num_threads)
    interpreter.allocate_tensors()
    init_ms = (time.perf_counter() - start) * 1e3
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], _example(detail))
    for _ in range(warm_up):
        interpreter.invoke()
    times, end = [], time.perf_counter() + min_seconds
    while len(times) < runs or time.perf_counter() < end:
        start = time.perf_counter()
        interpreter.invoke()
        times.append((time.perf_counter() - start) * 1e3)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    p50, p90, p99 = np.percentile(times, [50, 90, 99])
    # Linux counts in kilobytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "runs": len(times),
        "warm_up": warm_up,
        "p50_ms": p50,
        "p90_ms": p90,
        "p99_ms": p99,
        "min_ms": min(times),
        "init_ms": init_ms,
        "peak_memory_bytes": (after - before) * unit,
    }


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
