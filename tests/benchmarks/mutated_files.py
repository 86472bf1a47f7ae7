"""Damages `.tflite` files at random and counts what opening them does.

    python tests/benchmarks/mutated_files.py --count 5000

Exported files of every kind are damaged: bits, words and whole stretches of bytes,
truncation, fields of the object form. Each is decoded, described, loaded and run, in
processes that are restarted when one dies. The outcome should be a result or an error.
A signal, more than `--seconds` for a step, or more memory than twice the size of the
decoded file (plus, for loading and running, the size of its tensors according to their
shapes) is reported on a separate line and leads to exit code 1. If LiteRT alone,
without the delegate, dies on the same file, the line says so. `--seed` repeats a run;
failed files are kept in `--keep`.
"""

import argparse
import collections
import contextlib
import functools
import json
import math
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

STEPS = ("decode", "describe", "load", "run")
# Memory that a step may take in addition to twice the decoded size.
_SPARE_BYTES = 96 << 20
_ALONE = """
import resource, sys
from ai_edge_litert.interpreter import Interpreter
try:
    interpreter = Interpreter(model_content=sys.stdin.buffer.read())
    interpreter.allocate_tensors()
    if sys.argv[1] == "run":
        interpreter.invoke()
except (ValueError, RuntimeError):
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def originals(folder):
    """Writes small files of every kind; returns their paths."""
    import keras

    import tfcompress as tfc

    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    x = random.normal(size=(16, 12, 12, 3)).astype("float32")

    def network(num_filters=16):
        layers = keras.layers
        return keras.Sequential(
            [
                keras.Input((12, 12, 3)),
                layers.Conv2D(num_filters, 3, activation="relu"),
                layers.DepthwiseConv2D(3),
                layers.Flatten(),
                layers.Dense(64, activation="relu"),
                layers.Dense(10, activation="softmax"),
            ]
        )

    rules = {".*": [tfc.transforms.Mask(), tfc.transforms.Codebook(16)]}
    shared = tfc.strip(tfc.prune(tfc.compress(network(), rules), 0.7))
    made = {}

    def export(name, model, precision="int8", **options):
        made[name] = folder / f"{name}.tflite"
        samples = None if precision in ("float32", "float16") else x
        tfc.export_tflite(
            model, made[name], precision, samples, verify=False, **options
        )

    for codec in (None, *tfc.export.CODECS):
        export(f"int8 {codec}", shared, codec=codec)
        export(f"float32 {codec}", shared, "float32", codec=codec)
    export("sparse", shared, "float32", sparse="always")
    export("int4", network(), "int4")
    export("int16x8", network(), "int16x8")
    export("binary", _binary_network())
    wide = network()
    export("wide", wide, "float32")
    export("narrow", _cut(network(8), wide), "float32")
    made["slices"] = _with_slices(made["narrow"], made["wide"])
    return list(made.values())


def _cut(model, wide):
    """A narrower network whose weights are slices of those of a wider one."""
    for weight, source in zip(model.weights, wide.weights, strict=True):
        weight.assign(source[tuple(map(slice, weight.shape))])
    return model


def _with_slices(narrow, wide):
    from tfcompress.tflite.merge import merge
    from tfcompress.tflite.read import read, write
    from tfcompress.tflite.slices import share_slices

    paths = {"narrow": narrow, "wide": wide}
    file = merge({name: read(path.read_bytes()) for name, path in paths.items()})
    share_slices(file, "wide")
    path = narrow.with_name("slices.tflite")
    path.write_bytes(write(file))
    return path


def _binary_network():
    import keras

    import tfcompress as tfc

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(32, 3),
            tfc.layers.QuantizedActivation("sign"),
            layers.Conv2D(32, 3, name="binary"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    return tfc.compress(model, {"binary": "binary"})


def damaged(contents, seed):
    """The bytes of one of `contents`, damaged."""
    random = np.random.default_rng(seed)
    content = contents[int(random.integers(len(contents)))]
    kinds = (_flip, _truncate, _set_words, _splice, _set_fields)
    for _ in range(int(random.integers(1, 4))):
        kind = kinds[int(random.choice(len(kinds), p=(0.25, 0.05, 0.15, 0.15, 0.4)))]
        content = kind(content, contents, random)
    return content


def _place(content, random):
    """Most of a file is weights, but most of what can go wrong is around them."""
    size = max(1, len(content))
    ends = min(2048, size)
    if random.random() < 0.4:
        return int(random.integers(size))
    return (
        int(random.integers(ends))
        if random.random() < 0.3
        else size - 1 - int(random.integers(ends))
    )


def _flip(content, _, random):
    made = bytearray(content)
    for _ in range(int(random.integers(1, 9))):
        made[_place(content, random)] ^= 1 << int(random.integers(8))
    return bytes(made)


def _truncate(content, _, random):
    return content[: max(16, _place(content, random))]


def _set_words(content, _, random):
    made = bytearray(content)
    words = (0, 1, 2, 255, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
    for _ in range(int(random.integers(1, 4))):
        place = _place(content, random) // 4 * 4
        word = words[int(random.integers(len(words)))]
        made[place : place + 4] = word.to_bytes(4, "little")
    return bytes(made)


def _splice(content, contents, random):
    other = contents[int(random.integers(len(contents)))]
    length = int(random.integers(1, 256))
    start, place = _place(other, random), _place(content, random)
    part = other[start : start + length]
    overwrites = random.random() < 0.7
    return content[:place] + part + content[place + len(part) * overwrites :]


def _set_fields(content, _, random):
    from tfcompress.tflite.read import read, write

    try:
        file = read(content)
        for _ in range(int(random.integers(1, 4))):
            _set_field(file, random)
        return write(file)
    except Exception:  # A file that is already damaged cannot be unpacked.
        return content


def _set_field(file, random):
    """Changes a number, or one in an array, in some table of the file."""
    graph = file.subgraphs[0]
    tables = [*graph.tensors, *graph.operators, *file.operatorCodes, graph]
    tables += [t.quantization for t in graph.tensors if t.quantization]
    tables += [o.builtinOptions for o in graph.operators if o.builtinOptions]
    table = tables[int(random.integers(len(tables)))]
    fields = [
        k for k, v in vars(table).items() if isinstance(v, (int, np.ndarray, list))
    ]
    if not fields:
        return
    name = fields[int(random.integers(len(fields)))]
    numbers = (0, 1, 2, 3, 7, 64, 255, 1000, 65536, 2**24, 2**31 - 1, -1, -2)
    number = numbers[int(random.integers(len(numbers)))]
    value = getattr(table, name)
    if isinstance(value, int):
        setattr(table, name, number)
    elif len(value) and isinstance(value[0], (int, np.number)):
        value = np.array(value)
        value[int(random.integers(len(value)))] = number
        setattr(table, name, value)


def work():
    """The child: reads paths from stdin, and reports what happened in each step."""
    import tfcompress as tfc
    from tfcompress.tflite.describe import describe

    for line in sys.stdin:
        content = pathlib.Path(line.strip()).read_bytes()
        state = {}

        def decode(content=content, state=state):
            plain = tfc.decode_tflite(content)
            state["size"] = len(plain)
            state["claimed"] = _claimed(plain)

        def load(content=content, state=state):
            state["interpreter"] = tfc.Interpreter(content)

        def run(state=state):
            inputs = state["interpreter"].input_details.items()
            zeros = {k: np.zeros(d["shape"], d["dtype"]) for k, d in inputs}
            state["interpreter"].run(zeros, raw=True)

        steps = (decode, functools.partial(describe, line.strip()), load, run)
        for name, step in zip(STEPS, steps, strict=True):
            if name == "run" and "interpreter" not in state:
                break
            _say({"step": name})
            before = _reset_peak()
            result = "result"
            try:
                step()
            except (ValueError, RuntimeError, MemoryError, OSError) as error:
                result = type(error).__name__
            except Exception as error:
                result = f"unexpected {type(error).__name__}: {error}"
            used = _status("VmHWM") - before
            if "interpreter" in state:
                state["claimed"] = _allocated(state["interpreter"])
            size = state.get("size", 0)
            if name in ("load", "run"):
                size += state.get("claimed", 0)
            allowed = int(2.2 * size) + _SPARE_BYTES
            _say({"step": name, "result": result, "used": used, "allowed": allowed})
        _say({"done": True})


def _claimed(content):
    """Bytes of all tensors according to their shapes; LiteRT allocates some of them."""
    from tfcompress.tflite.read import tensor_shapes

    shapes, _ = tensor_shapes(content)
    return 4 * sum(max(0, math.prod(shape)) for shape, _ in shapes)


def _allocated(interpreter):
    """Bytes of all tensors, whose shapes LiteRT derives from those of the inputs."""
    details = interpreter._interpreter.get_tensor_details()
    sizes = [math.prod(map(int, d["shape"])) for d in details]
    items = [np.dtype(d["dtype"]).itemsize for d in details]
    return sum(a * b for a, b in zip(sizes, items, strict=True))


def _say(event):
    print(json.dumps(event), flush=True)


def _reset_peak():
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise ValueError(f"This system does not say its {name}.")


class Worker:
    """A process that opens files and is restarted when it dies."""

    def __init__(self, seconds):
        self.seconds = seconds
        self._process = None

    def open(self, path):
        """`[(step, what happened)]` for a file; the last one may be a failure."""
        if self._process is None:
            self._start()
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        found, step = [], "start"
        while True:
            try:
                # The first file waits for the imports.
                event = self._events.get(timeout=self.seconds + 60 * self._is_new)
            except queue.Empty:
                self.close()
                return [*found, (step, f"more than {self.seconds} s")]
            if event is None:
                code = self._process.wait()
                self._process = None
                return [
                    *found,
                    (step, f"signal {-code}" if code < 0 else f"exit {code}"),
                ]
            self._is_new = False
            if "done" in event:
                return found
            step = event["step"]
            if "result" in event:
                found.append((step, _judged(event)))

    def _start(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--work"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._events, self._is_new = queue.Queue(), True
        threading.Thread(
            target=_listen, args=(self._process.stdout, self._events), daemon=True
        ).start()

    def close(self):
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _listen(lines, events):
    for line in lines:
        events.put(json.loads(line))
    events.put(None)


def _judged(event):
    if event["used"] <= event["allowed"]:
        return event["result"]
    used, allowed = event["used"] >> 20, event["allowed"] >> 20
    return f"memory: {used} MiB, {allowed} MiB allowed"


def is_failure(what):
    """Whether the outcome is a failure."""
    return what.startswith(("signal", "exit", "more", "memory", "unexpected"))


def is_litert(content, step, what):
    """Whether LiteRT alone does the same with the decoded file."""
    import tfcompress as tfc
    from tfcompress.tflite.read import custom_operations

    if not custom_operations(content):
        return True  # It was alone.
    with contextlib.suppress(ValueError):
        content = tfc.decode_tflite(content)
    command = [sys.executable, "-c", _ALONE, step]
    done = subprocess.run(command, input=content, capture_output=True, timeout=120)
    if what.startswith("memory"):
        return int(done.stdout or 0) > int(what.split()[3]) << 20
    return done.returncode < 0


def main():
    """Damages, opens, counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=5000, help="number of files")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first file")
    parser.add_argument("--seconds", type=float, default=30, help="limit per step")
    parser.add_argument("--keep", type=pathlib.Path, help="folder for failed files")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work()
        return 0
    counts, failures = collections.Counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        contents = [path.read_bytes() for path in originals(folder)]
        worker, path = Worker(options.seconds), folder / "damaged"
        for seed in range(options.seed, options.seed + options.count):
            path.write_bytes(damaged(contents, seed))
            for step, what in worker.open(path):
                if not is_failure(what):
                    counts[step, what] += 1
                    continue
                alone = step in ("load", "run") and is_litert(
                    path.read_bytes(), step, what
                )
                counts[step, f"{what.split(':')[0]}{' (LiteRT alone)' * alone}"] += 1
                failures += not alone
                print(
                    f"seed {seed}: {step}: {what}{' (LiteRT alone)' * alone}",
                    flush=True,
                )
                if options.keep:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    (options.keep / f"{seed}.tflite").write_bytes(path.read_bytes())
        worker.close()
    for (step, what), count in sorted(counts.items()):
        print(f"{step:9} {what:32} {count:7}")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
