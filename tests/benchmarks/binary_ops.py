"""Latency of binary convolutions and dense layers, including packing, against XNNPACK.

Every variant is a `.tflite` file in a separate process, with float32 or int8 inputs and
outputs: fp32 and int8 with XNNPACK, ours through the delegate. They take turns; speed
ratios are medians over the rounds.

XNNPACK's int8 uses tile instructions (AMX) on processors that have them. "int8 without
tiles" is the same file in a process in which Linux disables them, as on processors that
only have VNNI.
"""

import contextlib
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import harness
import numpy as np

TURNS = harness.FOLDER / "turns.py"
CONVOLUTIONS = {
    f"conv_{size}x{channels}": (size, channels)
    for size, channels in ((14, 256), (28, 128), (56, 64), (7, 512))
}
UNITS = 1024
ISAS = {"avx512": 4, "avx2": 3, "neon": 5, "neon_in_order": 6, "portable": 2}
_TILES_OFF = " without tiles"
FP32, INT8 = "XNNPACK fp32", "XNNPACK int8"
WITHOUT_TILES = f"{INT8}{_TILES_OFF}"
# Target speed ratios: {row: {instruction set: {other: at least}}}.
_INT8 = (INT8, WITHOUT_TILES)
TARGETS = {
    "conv_14x256": {"avx512": {FP32: 20, **dict.fromkeys(_INT8, 5)}},
    "conv_56x64": {"avx512": {FP32: 14, **dict.fromkeys(_INT8, 3.5)}},
    "dense": {"avx512": {FP32: 10}},
}
AVX2_TARGET = 4
SIZE_RATIO = 20
# Time of a QuickNet whose rest is int8, relative to one whose rest is float.
INT8_REST = 0.9
THREADS = (1, 2)


def convolution(row):
    """The figures for one 3x3 convolution."""
    size, channels = CONVOLUTIONS[row]

    def measure(options):
        import keras

        side, filters = (4, 32) if options.quick else (size, channels)
        layer = keras.layers.Conv2D(
            filters, 3, padding="same", use_bias=False, name="layer"
        )
        task = {"size": side, "channels": filters}
        return compare_layer(row, (side, side, filters), layer, options, task)

    return measure


def dense(options):
    """The figures for one row through a dense layer."""
    import keras

    layer = keras.layers.Dense(UNITS, use_bias=False, name="layer")
    return compare_layer("dense", (UNITS,), layer, options)


def compare_layer(row, shape, layer, options, peer_task=None):
    """Latencies of a layer in fp32, int8 and binary, and their ratios."""
    import keras

    import tfcompress as tfc

    keras.utils.set_random_seed(options.seed)
    real = keras.Sequential([keras.Input(shape), layer])
    sign = tfc.layers.QuantizedActivation("sign")
    signs = keras.Sequential([keras.Input(shape), sign, layer])
    binary = tfc.compress(signs, {"layer": "binary"})
    samples = np.random.default_rng(options.seed).normal(size=(8, *shape))
    with tempfile.TemporaryDirectory() as folder:
        paths = {n: str(pathlib.Path(folder, n)) for n in ("fp32", "int8", "binary")}
        tfc.export_tflite(real, paths["fp32"])
        tfc.export_tflite(real, paths["int8"], "int8", samples=samples.astype("f4"))
        tfc.export_tflite(binary, paths["binary"])
        variants = {FP32: {"path": paths["fp32"]}, INT8: {"path": paths["int8"]}}
        if has_tiles():
            variants[WITHOUT_TILES] = {"path": paths["int8"], "tiles": False}
        isas = available_isas()
        for isa in isas[:1] if options.quick else isas:
            variants[isa] = {"path": paths["binary"], **delegated(isa)}
        measures = []
        for count in num_threads(options):
            peers = {}
            if peer_task and not options.no_peers:
                peers["larq-compute-engine 0.16"] = peer_task
            times = take_turns(variants, peers, count, options)
            measures += latencies(times, count)
            measures += speeds(row, times, count)
        return measures


def network(options):
    """A QuickNet against its float twin, which has real weights and no signs."""
    import keras

    import tfcompress as tfc

    size, classes = (32, 10) if options.quick else (224, 1000)
    widths = {"filters": (32, 32), "blocks": (1, 1)} if options.quick else {}
    keras.utils.set_random_seed(options.seed)
    model = tfc.blocks.quicknet((size, size, 3), classes, **widths)
    twin = keras.models.clone_model(model, clone_function=without_sign)
    binary = tfc.compress(model, {".*_binary": "binary"})
    samples = np.random.default_rng(options.seed).normal(size=(8, size, size, 3))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        # In untrained networks, rounding is as large as the differences between samples.
        half = {"precision": "float16", "verify": False}
        int8 = {**half, "precision": "int8", "samples": samples.astype("f4")}
        files = {
            "float twin": tfc.export_tflite(twin, path / "twin"),
            "int8 twin": tfc.export_tflite(twin, path / "int8_twin", **int8),
            "binary, rest float": tfc.export_tflite(binary, path / "binary"),
            "binary, rest float16": tfc.export_tflite(binary, path / "half", **half),
            "binary, rest int8": tfc.export_tflite(binary, path / "int8", **int8),
        }
        full = files["float twin"].size_bytes
        measures = [
            harness.Measure(f"{name}: size", file.size_bytes, "bytes")
            for name, file in files.items()
        ]
        for name, target in (
            ("binary, rest float", None),
            ("binary, rest float16", None),
            ("binary, rest int8", SIZE_RATIO),
        ):
            ratio = full / files[name].size_bytes
            measures.append(
                harness.Measure(
                    f"size of float twin, of {name}", ratio, "x", at_least=target
                )
            )
        variants = {
            name: {"path": str(file.path), **delegated("best")}
            for name, file in files.items()
        }
        if has_tiles():
            for name in ("binary, rest float", "binary, rest int8"):
                variants[f"{name}{_TILES_OFF}"] = {**variants[name], "tiles": False}
        for count in num_threads(options):
            times = take_turns(variants, {}, count, options)
            measures += latencies(times, count)
            measures += rests(times, count)
            for name in list(files)[1:]:
                speed = harness.ratio(times["float twin"], times[name])
                measures.append(
                    harness.Measure(
                        f"{name}, {threads(count)}: speed, of float twin", speed, "x"
                    )
                )
        return measures


def rests(times, num_threads):
    """The time of a network whose rest is int8, relative to one whose rest is float."""
    return [
        harness.Measure(
            f"rest int8{suffix}, {threads(num_threads)}: time, of rest float",
            harness.ratio(
                times[f"binary, rest int8{suffix}"],
                times[f"binary, rest float{suffix}"],
            ),
            "x",
            at_most=INT8_REST,
        )
        for suffix in ("", _TILES_OFF)
        if f"binary, rest int8{suffix}" in times
    ]


def without_sign(layer):
    """A copy of a layer; a sign is replaced by the identity."""
    import keras

    import tfcompress as tfc

    if isinstance(layer, tfc.layers.QuantizedActivation):
        return keras.layers.Activation("linear", name=layer.name)
    return type(layer).from_config(layer.get_config())


def num_threads(options):
    """The numbers of threads to measure with."""
    return THREADS[:1] if options.quick else THREADS


def available_isas():
    """Names of instruction sets that binary operations can use here."""
    from tfcompress import native

    library = native.require("This benchmark")
    return [name for name, isa in ISAS.items() if library.tfc_isa_available(isa) & 0xFF]


def delegated(isa):
    """The part of a task that specifies the delegate."""
    import tfcompress as tfc

    return {"delegate": str(tfc.runtime.delegate_path()), "options": {"isa": isa}}


def has_tiles():
    """Whether this is Linux on a processor with AMX."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    return cpuinfo.exists() and "amx_int8" in cpuinfo.read_text()


def take_turns(variants, peers, num_threads, options):
    """`{name: seconds of a run in each round}`.

    Args:
        variants: `{name: task of turns.py}`.
        peers: `{name: task of peers/lce.py}`.
        num_threads: threads of each.
        options: options of the script.
    """
    rounds, repeats = (1, 1) if options.quick else (options.rounds, options.repeats)
    common = {"num_threads": num_threads, "repeats": repeats}
    with contextlib.ExitStack() as stack:
        running = {}
        for name, task in variants.items():
            command = [sys.executable, TURNS, json.dumps({**task, **common})]
            running[name] = stack.enter_context(Process(command))
        for name, task in peers.items():
            command = harness.peer_command(
                "lce", "lce.py", {**task, **common}, options.peers_dir
            )
            running[name] = stack.enter_context(Process(command))
        times = {name: [] for name in running}
        for _ in range(rounds):
            for name, process in running.items():
                times[name].append(process.seconds())
    return times


class Process:
    """A process that returns the seconds of a run; ends with its context."""

    def __init__(self, command):
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        while (line := self._process.stdout.readline()) != "ready\n":
            if not line:
                raise RuntimeError(f"{command} ended: {self._process.wait()}")

    def __enter__(self):
        return self

    def seconds(self):
        """The seconds of one run, the median of a turn."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def __exit__(self, *_):
        self._process.communicate()


def latencies(times, num_threads):
    """Medians in microseconds."""
    return [
        harness.Measure(
            f"{name}, {threads(num_threads)}: latency",
            statistics.median(seconds) * 1e6,
            "us",
        )
        for name, seconds in times.items()
    ]


def speeds(row, times, num_threads):
    """Speed of the vector instruction sets relative to all others."""
    measures = []
    for isa in ISAS:
        if isa == "portable" or isa not in times:
            continue
        targets = TARGETS.get(row, {}).get(isa, {})
        if isa == "avx2" and row in CONVOLUTIONS:
            targets = {FP32: AVX2_TARGET}
        for other, seconds in times.items():
            if other in ISAS:
                continue
            measures.append(
                harness.Measure(
                    f"{isa}, {threads(num_threads)}: speed, of {other}",
                    harness.ratio(seconds, times[isa]),
                    "x",
                    at_least=targets.get(other),
                )
            )
    return measures


def threads(count):
    """A number of threads as text."""
    return "1 thread" if count == 1 else f"{count} threads"


def _add_options(parser):
    parser.add_argument("--repeats", type=int, default=20, help="runs per turn")
    parser.add_argument("--rounds", type=int, default=51, help="turns per file")


ROWS = {**{row: convolution(row) for row in CONVOLUTIONS}, "dense": dense}

if __name__ == "__main__":
    harness.main(
        __doc__,
        {**ROWS, "quicknet": network},
        _add_options,
        quick=["conv_14x256"],
    )
