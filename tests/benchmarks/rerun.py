"""Runs the results that take a minute once more, and fails where they have drifted.

usage: python tests/benchmarks/rerun.py
"""

import json
import math
import subprocess
import sys
import tempfile

import harness
import results

# Files of results and rows that need no data but what is installed.
CHEAP = {"digits": ["demo"], "search_table": ["oracles"]}
# How far figures may be off on another processor: of accuracies in points, else a share.
POINTS, SHARE = 1.5, 0.02


def drifted(old, new):
    """Lines of what is no longer what it was.

    Args:
        old: the rows of a file.
        new: those of a run, with times left out of the comparison.

    >>> row = {"row": "a", "measure": "size", "unit": "bytes", "value": 100}
    >>> drifted([row], [{**row, "value": 101}])
    []
    >>> drifted([row], [{**row, "value": 103}])
    ['a, size: 103 bytes, in the results 100']
    """
    known = {(one["row"], one["measure"]): one["value"] for one in old}
    return [
        f"{row}, {measure}: {one['value']:.6g} {one['unit']}, in the results "
        f"{known[row, measure]:.6g}"
        for one in new
        for row, measure in [(one["row"], one["measure"])]
        if one["unit"] not in ("ms", "s")
        and not _is_close(one["value"], known[row, measure], one["unit"])
    ]


def _is_close(value, before, unit):
    if unit == "%":
        return abs(value - before) <= POINTS
    return math.isclose(value, before, rel_tol=SHARE)


def _run(name, rows):
    with tempfile.TemporaryDirectory() as folder:
        into = f"{folder}/{name}.json"
        only = [part for row in rows for part in ("--only", row)]
        script = harness.FOLDER / f"{name}.py"
        subprocess.run([sys.executable, script, *only, "--into", into], check=True)
        with open(into) as file:
            return json.load(file)


def main():
    """Runs them; the exit code says whether all are what they were."""
    wrong = []
    for name, rows in CHEAP.items():
        wrong += [
            f"{name}.json: {line}"
            for line in drifted(results.results(name), _run(name, rows))
        ]
    print("\n".join(wrong) or "nothing has drifted", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
