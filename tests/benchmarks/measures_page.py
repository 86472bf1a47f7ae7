"""Writes a page in docs/results from the results of a script in the same folder.

usage: python tests/benchmarks/measures_page.py dynamic_table | search_table
"""

import itertools
import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).parents[2] / "docs" / "results"
HEADS = {
    "dynamic_table": """# Dynamic networks

Written by `tests/benchmarks/measures_page.py` from `dynamic_table.json`, which
`tests/benchmarks/dynamic_table.py` prints; how each row is trained is in
`tests/benchmarks/dynamic_rows`. Accuracies are those on the test set after the last epoch;
thresholds are chosen on images held out of the training. Times are medians of turns of the
files that are compared, on this host, one thread, a sample at a time, by `tfc.Interpreter`
and `tfc.runtime.Cascade`, Python included; other work ran on the same two cores. The
trained ResNets have seen the images that are held out here, so what is chosen by them is
too hopeful. The file of all widths leaves out names and notes that the file of the widest
still has: beside one without them, the ratios would be larger.
""",
    "search_table": """# Search

Written by `tests/benchmarks/measures_page.py` from `search_table.json`, which
`tests/benchmarks/search_table.py` prints, row by row; what each row does is in
`tests/benchmarks/search_rows`. Candidates are compared on training images, which the
trained ResNet-20 has seen; accuracies are those on the test set. Other work ran on the same
two cores.
""",
}


def page(head, results):
    """The page as Markdown.

    Args:
        head: the text above the tables.
        results: the list that the script prints with `--json`.
    """
    sections = itertools.groupby(results, key=lambda result: result["row"])
    return "\n".join([head, *(_section(name, list(rows)) for name, rows in sections)])


def _section(name, results):
    columns = ["measure", "value", "target", "paper", "note"]
    lines = [_line(columns), _line(["---"] * len(columns)), *map(_row, results)]
    about = [
        f"seed {results[0]['seed']}, {results[0]['seconds']:.0f} s, {results[0]['machine']}"
    ]
    return "\n".join([f"## {name}\n", *lines, "", *(f"- {line}" for line in about), ""])


def _row(result):
    target = result["target"] or ""
    if target:
        target += ": met" if result["met"] else ": missed"
    value = "" if result["value"] is None else f"{result['value']:.4g} {result['unit']}"
    paper = "" if result["paper"] is None else f"{result['paper']:g}"
    cells = result["measure"], value.strip(), target, paper, result["note"] or ""
    return _line(cells)


def _line(cells):
    return f"| {' | '.join(cells)} |"


def _write(name):
    results = json.loads((FOLDER / f"{name}.json").read_text())
    (FOLDER / f"{name}.md").write_text(page(HEADS[name], results))


if __name__ == "__main__":
    for given in sys.argv[1:] or HEADS:
        _write(given)
