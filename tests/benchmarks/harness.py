"""What the benchmark scripts share: rows, options, fair timing and peers.

Peers import this too, in environments of their own: no more than the standard library
at the top.
"""

import argparse
import dataclasses
import gzip
import hashlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

FOLDER = pathlib.Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Measure:
    """One figure of a row.

    Attributes:
        measure: what was measured.
        value: the figure.
        unit: of the value.
        at_most, at_least: the target; at most one of them.
        paper: what a paper reports, given for comparison.
        peer: `{tool and version: its figure}`. A figure with a target must also be no
            worse than this.
    """

    measure: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    paper: float | None = None
    peer: dict | None = None

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

    def to_dict(self, row, seconds, seed, machine):
        """What `--json` prints."""
        return {
            "row": row,
            "measure": self.measure,
            "value": self.value,
            "unit": self.unit,
            "target": self.target,
            "met": self.met,
            "paper": self.paper,
            "peer": self.peer,
            "seconds": seconds,
            "seed": seed,
            "machine": machine,
        }


def main(description, rows, add_options=lambda parser: None, arguments=None):
    """Runs a benchmark script: parses the options, runs the rows, prints the figures.

    Args:
        description: what the script measures.
        rows: `{name: function of the options that returns a list of Measure}`.
        add_options: called with the parser, for options of the script's own.
        arguments: in place of the command line's.
    """
    options = _parse(description, rows, add_options, arguments)
    results = []
    for name in options.only or rows:
        progress(f"{name} ...")
        start = time.perf_counter()
        measures = rows[name](options)
        seconds = round(time.perf_counter() - start, 1)
        results += [m.to_dict(name, seconds, options.seed, machine()) for m in measures]
    if options.json:
        print(json.dumps(results, indent=2))
        return
    _print_table(description, results)


def _parse(description, rows, add_options, arguments):
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    parser.add_argument(
        "--only", action="append", choices=list(rows), help="run this row; repeatable"
    )
    parser.add_argument("--data-dir", help="folder of mnist.npz, cifar10.npz and so on")
    parser.add_argument("--seed", type=int, default=0, help="of everything random")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes; the figures mean nothing"
    )
    parser.add_argument("--no-peers", action="store_true", help="leave out other tools")
    parser.add_argument(
        "--peers-dir",
        default=pathlib.Path.home() / ".cache/tfcompress/peers",
        help="where environments of other tools are kept",
    )
    add_options(parser)
    return parser.parse_args(arguments)


def progress(message):
    """Tells the person who waits, without touching what the script prints."""
    print(message, file=sys.stderr, flush=True)


def machine():
    """Processor and number of cores."""
    from tfcompress.measuring.benchmark import cpu_name

    return f"{cpu_name()}, {os.cpu_count()} cores"


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
            f"{_text(result['value'])} {result['unit']}".strip(),
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
    """A number to four digits, whole numbers in full.

    >>> _text(1.23456), _text(1234567), _text(None)
    ('1.235', '1,234,567', '')
    """
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def interleaved(variants, rounds):
    """Times variants in turn, A B C A B C, so that a slow minute hits them all.

    Args:
        variants: `{name: function without arguments}`; each runs once unmeasured first.
        rounds: how often each is timed.

    Returns:
        `{name: list of seconds}`.
    """
    for run in variants.values():
        run()
    times = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return times


def ratio(times, reference):
    """Median over the rounds of how much longer a variant took than the reference.

    >>> ratio([2.0, 9.0, 4.0], [1.0, 3.0, 2.0])
    2.0
    """
    return statistics.median(a / b for a, b in zip(times, reference, strict=True))


def describe_file(name, path):
    """Sizes and speed of a `.tflite` file."""
    import tfcompress as tfc

    content = path.read_bytes()
    zipped = len(gzip.compress(content, compresslevel=9, mtime=0))
    speed = tfc.benchmark(path, num_threads=1, runs=200)
    return [
        Measure(f"{name}: size", len(content), "bytes"),
        Measure(f"{name}: size gzipped", zipped, "bytes"),
        Measure(f"{name}: latency", speed.median_ms, "ms"),
    ]


def run_peer(name, script, task, folder):
    """What a script of `peers/` answers to a task, in the peer's own environment.

    Args:
        name: of the peer; `peers/<name>.txt` pins what its environment holds.
        script: file in `peers/`. It gets the task as its argument and prints the
            answer as its last line, both in JSON.
        task: anything JSON can hold.
        folder: where environments are kept.
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
    requirements = FOLDER / "peers" / f"{name}.txt"
    content = requirements.read_bytes() + sys.version.encode()
    digest = hashlib.sha256(content).hexdigest()[:8]
    home = pathlib.Path(folder).expanduser() / f"{name}-{digest}"
    python, complete = home / "bin/python", home / "complete"
    if complete.exists():
        return python
    progress(f"Building {home}; about a minute, 2 GB")
    shutil.rmtree(home, ignore_errors=True)
    install = [python, "-m", "pip", "install", "--quiet", "--requirement", requirements]
    for command in ([sys.executable, "-m", "venv", home], install):
        subprocess.run(command, stdout=sys.stderr, check=True)
    complete.touch()
    return python
