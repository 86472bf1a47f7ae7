"""Shared by the benchmark scripts: rows, options, fair timing and peers.

Peers import this too, in their own environments, so only the standard library is
imported at the top.
"""

import argparse
import dataclasses
import datetime
import gzip
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import threading
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

FOLDER = pathlib.Path(__file__).parent
NO_RESULT = "quick run, no result"
_PACKAGES = ("ai-edge-litert", "keras", "numpy", "tensorflow")


@dataclasses.dataclass(frozen=True)
class Measure:
    """One figure of a row.

    Attributes:
        measure: what was measured.
        value: the figure.
        unit: unit of the value.
        at_most, at_least: the target; at most one of them is given.
        paper: the figure that a paper reports, for comparison.
        peer: `{tool and version: its figure}`. A figure with a target must also be no
            worse than this.
        note: what else must be known about the figure, or why there is none.
    """

    measure: str
    value: float | None
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    paper: float | None = None
    peer: dict | None = None
    note: str | None = None

    def __post_init__(self):
        # JSON and comparisons with `is` do not support NumPy scalars.
        for name, value in vars(self).items():
            object.__setattr__(self, name, _plain(value))

    @property
    def target(self):
        """The target as text, or None.

        >>> Measure("error", 1.2, "%", at_most=1.5).target
        '<= 1.5'
        """
        if self.at_most is not None:
            return f"<= {self.at_most:.6g}"
        if self.at_least is not None:
            return f">= {self.at_least:.6g}"
        return None

    @property
    def met(self):
        """Whether the target is met and no peer is better; None without a target.

        >>> Measure("time", 1.1, at_most=1.2).met
        True
        >>> Measure("time", 1.1, at_most=1.2, peer={"other": 1.0}).met
        False
        """
        peers = list((self.peer or {}).values())
        if self.at_most is not None:
            return self.value <= min([self.at_most, *peers])
        if self.at_least is not None:
            return self.value >= max([self.at_least, *peers])
        return None

    def to_dict(self, row, seconds, seed, machine, is_quick=False):
        """What `--json` prints; figures of a quick run neither meet nor miss a target."""
        return {
            "row": row,
            "measure": self.measure,
            "value": self.value,
            "unit": self.unit,
            "target": self.target,
            "met": None if is_quick else self.met,
            "paper": self.paper,
            "peer": self.peer,
            "note": self.note or (NO_RESULT if is_quick else None),
            "seconds": seconds,
            "seed": seed,
            "machine": machine,
        }


def _plain(value):
    """A NumPy scalar, or a dictionary of them, as Python values."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value.item() if hasattr(value, "item") else value


def left_out(why):
    """The result of a row that cannot run here, or not quickly."""
    return [Measure("left out", None, note=why)]


def rows_in(folder):
    """`{name: function}` of all files in a folder next to the scripts."""
    found = {}
    for path in sorted((FOLDER / folder).glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"{folder}_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found |= module.ROWS
    return found


def main(
    description,
    rows,
    add_options=lambda parser: None,
    arguments=None,
    quick=None,
    show=None,
):
    """Runs a benchmark script: parses the options, runs the rows, prints the figures.

    Args:
        description: what the script measures.
        rows: `{name: function of the options that returns a list of Measure}`.
        add_options: called with the parser, to add the script's own options.
        arguments: arguments in place of those of the command line.
        quick: names of the rows that `--quick` runs, if others are similar or have
            their own script; None for all. `--only` runs others too.
        show: called with a title and the data that `--json` prints, instead of printing
            the table.
    """
    options = _parse(description, rows, add_options, arguments)
    results, made = [], provenance()
    for name in options.only or rows:
        progress(f"{name} ...")
        start = time.perf_counter()
        if options.quick and not options.only and quick and name not in quick:
            measures = left_out(f"--quick runs {', '.join(quick)} only")
        else:
            measures = rows[name](options)
        seconds = round(time.perf_counter() - start, 1)
        _check_names(name, measures)
        results += [
            m.to_dict(name, seconds, options.seed, machine(), options.quick) | made
            for m in measures
        ]
    if options.into:
        _store(pathlib.Path(options.into), results)
    if options.json:
        print(json.dumps(results, indent=2))
        return
    title = f"{description.strip()} ({NO_RESULT})" if options.quick else description
    (show or _print_table)(title, results)


def _check_names(row, measures):
    """Raises if two figures of a row have one name: they are looked up by it."""
    names = [
        (m.measure,) if isinstance(m, Measure) else (m.method, m.seed) for m in measures
    ]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"The row {row!r} has several figures called {twice}.")


def _store(path, results):
    old = json.loads(path.read_text()) if path.exists() else []
    lines = ",\n".join(json.dumps(one) for one in merged(old, results))
    path.write_text(f"[\n{lines}\n]\n")


def merged(old, new):
    """Old results, in which rows with the same name are replaced by new ones.

    >>> merged([{"row": "a", "n": 1}, {"row": "b", "n": 1}], [{"row": "a", "n": 2}])
    [{'row': 'a', 'n': 2}, {'row': 'b', 'n': 1}]
    """
    rerun = {one["row"] for one in new}
    return [
        one
        for name in dict.fromkeys(one["row"] for one in [*old, *new])
        for one in (new if name in rerun else old)
        if one["row"] == name
    ]


def _parse(description, rows, add_options, arguments):
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    parser.add_argument(
        "--only", action="append", choices=list(rows), help="run this row; repeatable"
    )
    parser.add_argument(
        "--into",
        help="file of results, in which the rows that run are replaced",
    )
    parser.add_argument("--data-dir", help="folder of mnist.npz, cifar10.npz and so on")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random draws")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="tiny sizes, and made-up data if none is given; not a result",
    )
    parser.add_argument("--no-peers", action="store_true", help="leave out other tools")
    parser.add_argument(
        "--peers-dir",
        default=pathlib.Path.home() / ".cache/tfcompress/peers",
        help="folder for the environments of other tools",
    )
    add_options(parser)
    return parser.parse_args(arguments)


def some(values, options):
    """All values; only the first in a quick run, for which the others are similar."""
    return values[:1] if options.quick else values


def load_data(name, options, num_quick=128):
    """`((x_train, y_train), (x_test, y_test))`, as `tfc.datasets.load` returns them.

    A quick run uses few of them and needs no files: without a folder, the digits of
    scikit-learn replace any dataset, enlarged to the size of its images.

    Args:
        name: name of the dataset.
        options: options of the command line.
        num_quick: number of images per part in a quick run.
    """
    import tfcompress as tfc

    if not options.quick:
        return tfc.datasets.load(name, options.data_dir)
    if options.data_dir or os.environ.get(tfc.datasets.DATA_VARIABLE):
        parts = tfc.datasets.load(name, options.data_dir)
    else:
        progress(f"Digits stand for {name}: {NO_RESULT}")
        parts = [
            (_enlarged(images[:num_quick], *_SHAPES[name]), labels)
            for images, labels in tfc.datasets.load("digits")
        ]
    return tuple(tuple(array[:num_quick] for array in part) for part in parts)


# Side length and channels of images.
_SHAPES = {"cifar10": (32, 3), "fashion_mnist": (28, 1), "mnist": (28, 1)}


def _enlarged(images, side, channels):
    """Single-channel images with larger pixels, a border and more channels."""
    import numpy as np

    times = side // images.shape[1]
    border = (side - times * images.shape[1]) // 2
    images = images.repeat(times, axis=1).repeat(times, axis=2)
    edges = [(0, 0), (border, border), (border, border), (0, 0)]
    return np.pad(images, edges).repeat(channels, axis=3)


def progress(message):
    """Reports progress to the user, without affecting the script's output."""
    print(message, file=sys.stderr, flush=True)


def machine():
    """Processor and number of cores."""
    from tfcompress.runtime.host import cpu_name

    return f"{cpu_name()}, {os.cpu_count()} cores"


def provenance():
    """What a result is of: the commit, the day, and versions of what it ran on.

    A commit ends in `-dirty` where files differ from it.
    """
    command = ["git", "-C", FOLDER, "describe", "--always", "--dirty", "--abbrev=12"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return {
        "commit": run.stdout.strip() or None,
        "date": datetime.date.today().isoformat(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _print_table(title, results):
    import rich.console
    import rich.table

    table = rich.table.Table(title=title, title_justify="left")
    table.add_column("row")
    table.add_column("measure")
    for heading in ("value", "target", "paper", "peer"):
        table.add_column(heading, justify="right")
    table.add_column("met")
    previous = None
    for result in results:
        if previous not in (None, result["row"]):
            table.add_section()
        peers = (result["peer"] or {}).items()
        table.add_row(
            "" if result["row"] == previous else result["row"],
            result["measure"],
            f"{_text(result['value'])} {result['unit']}".strip() or result["note"],
            result["target"] or "",
            _text(result["paper"]),
            "\n".join(f"{name} {_text(value)}" for name, value in peers),
            {True: "[green]yes", False: "[red]no", None: ""}[result["met"]],
        )
        previous = result["row"]
    console = rich.console.Console()
    if not console.is_terminal:
        console.width = 120
    console.print(table)


def _text(value):
    """A number with four significant digits, integers in full.

    >>> _text(1.23456), _text(1234567), _text(None)
    ('1.235', '1,234,567', '')
    """
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def interleaved(variants, rounds):
    """Times variants in turn, A B C A B C, so that a slow minute affects them all.

    Args:
        variants: `{name: function without arguments}`; each first runs once without timing,
            except in a single round, of a quick run, which measures nothing.
        rounds: number of times that each is timed.

    Returns:
        `{name: list of seconds}`.
    """
    for run in variants.values() if rounds > 1 else ():
        run()
    times = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return times


def ratio(times, reference):
    """Median over the rounds of the time of a variant relative to the reference.

    >>> ratio([2.0, 9.0, 4.0], [1.0, 3.0, 2.0])
    2.0
    """
    return statistics.median(a / b for a, b in zip(times, reference, strict=True))


def benchmark(path, is_quick):
    """Speed and memory of a `.tflite` file on one thread."""
    import tfcompress as tfc

    runs = {"runs": 2, "warm_up": 1, "min_seconds": 0.0} if is_quick else {"runs": 200}
    return tfc.benchmark(path, num_threads=1, **runs)


def describe_file(name, path, is_quick=False):
    """Sizes and speed of a `.tflite` file."""
    content = path.read_bytes()
    zipped = len(gzip.compress(content, compresslevel=9, mtime=0))
    speed = benchmark(path, is_quick)
    return [
        Measure(f"{name}: size", len(content), "bytes"),
        Measure(f"{name}: size gzipped", zipped, "bytes"),
        Measure(f"{name}: latency", speed.median_ms, "ms"),
    ]


def run_peer(name, script, task, folder):
    """The answer of a script in `peers/` to a task, in the peer's own environment.

    Args:
        name: name of the peer; `peers/<name>.txt` pins the packages of its environment.
        script: file in `peers/`. It gets the task as its argument and prints the
            answer as its last line, both in JSON.
        task: any JSON-serializable object.
        folder: folder for environments.
    """
    child = subprocess.run(
        peer_command(name, script, task, folder),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(child.stdout.splitlines()[-1])


def peer_command(name, script, task, folder):
    """The command of `run_peer`."""
    path = FOLDER / "peers" / script
    return [
        *("env", f"PYTHONPATH={FOLDER}"),
        *(_peer_python(name, folder), path, json.dumps(task)),
    ]


def _peer_python(name, folder):
    """The interpreter of a peer's environment, which is built on first use."""

    def commands(home, requirements):
        python = home / "bin/python"
        return [
            [sys.executable, "-m", "venv", home],
            [python, "-m", "pip", "install", "--quiet", "--requirement", requirements],
        ]

    return _peer_home(name, folder, commands, "about a minute, 2 GB") / "bin/python"


def peer_packages(name, folder):
    """A folder to put on the path, with packages that run in our own environment.

    It is filled on first use with the packages pinned in `peers/<name>.txt`, and
    nothing else.
    """

    def commands(home, requirements):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        return [[*pip, "--target", home, "--requirement", requirements]]

    return _peer_home(name, folder, commands, "some seconds, 50 MB")


# Two threads may need the same folder.
_building = threading.Lock()


def _peer_home(name, folder, commands, needs):
    """The folder of a peer, which is built on first use."""
    requirements = FOLDER / "peers" / f"{name}.txt"
    content = requirements.read_bytes() + sys.version.encode()
    digest = hashlib.sha256(content).hexdigest()[:8]
    home = pathlib.Path(folder).expanduser() / f"{name}-{digest}"
    complete = home / "complete"
    with _building:
        if complete.exists():
            return home
        progress(f"Building {home}; {needs}")
        shutil.rmtree(home, ignore_errors=True)
        for command in commands(home, requirements):
            subprocess.run(command, stdout=sys.stderr, check=True)
        complete.touch()
    return home
