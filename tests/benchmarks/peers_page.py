"""The page of docs/results/peers.json: one table a row, one line a tool."""

import itertools

import measures_page

_HEAD = """# Other tools

Written by `make results` from `peers.json`, which `tests/benchmarks/peers.py` prints. What
each tool is told to do is in `tests/benchmarks/peers`, and in
`tests/benchmarks/peer_programs.py` for Keras, the converter and this package. Every tool
has its own environment, starts from the same weights, and sees the same batches in the same
order for as many epochs (Adam, its rate along a cosine). Trainings are short: what one more
epoch would give is not measured. There is one seed, so differences of a tenth of a point
are noise.

- accuracy: of the file, on the whole test set, by LiteRT; files of larq-compute-engine by
  its own interpreter;
- bytes: of the file, and of the file after gzip;
- ms: median of turns of all files of a table, one thread, a sample at a time, while other
  work ran on the same two cores;
- step: time of a training step over that of the plain network in the same Keras, which is
  Keras 2 for tfmot and larq;
- lines: of the program from the trained network to the file, without imports, blank lines
  and comments.

The best of each column is bold; the float32 file is there for comparison.
"""
_REFERENCE = "float32 file"
# Measure: heading, format, and which end is best.
_COLUMNS = {
    "accuracy": ("accuracy %", "{:.2f}", max),
    "file": ("bytes", "{:,}", min),
    "zipped": ("zipped", "{:,}", min),
    "latency": ("ms", "{:.3f}", min),
    "step": ("step", "{:.2f}x", min),
    "lines": ("lines", "{}", min),
}


def page(results):
    """The page as Markdown.

    Args:
        results: the list that `peers.py --json` prints.
    """
    sections = itertools.groupby(results, key=lambda result: result["row"])
    return "\n".join([_HEAD, *(_section(name, list(rows)) for name, rows in sections)])


def _section(name, results):
    tools, notes, left_out = {}, [], []
    for result in results:
        label, _, measure = result["measure"].rpartition(": ")
        if measure == "left out":
            left_out.append(f"left out: {label}: {result['note']}")
            continue
        tools.setdefault(label, {})[measure] = result["value"]
        if result["note"]:
            notes.append(f"{label}: {result['note']}")
    columns = [c for c in _COLUMNS if any(c in figures for figures in tools.values())]
    best = {column: _best(column, tools) for column in columns}
    lines = [
        _line(["tool", *(_COLUMNS[column][0] for column in columns)]),
        _line(["---", *["---:"] * len(columns)]),
        *(
            _line([label, *(_cell(c, figures.get(c), best[c]) for c in columns)])
            for label, figures in tools.items()
        ),
    ]
    about = [*notes, *left_out, measures_page.made(results[0])]
    return "\n".join([f"## {name}\n", *lines, "", *(f"- {line}" for line in about), ""])


def _best(column, tools):
    """The best as it is printed; None if there is nothing to compare."""
    found = [
        figures[column]
        for label, figures in tools.items()
        if column in figures and label != _REFERENCE
    ]
    return _text(column, _COLUMNS[column][2](found)) if found[1:] else None


def _cell(column, value, best):
    if value is None:
        return ""
    text = _text(column, value)
    return f"**{text}**" if text == best else text


def _text(column, value):
    return _COLUMNS[column][1].format(value)


def _line(cells):
    return f"| {' | '.join(cells)} |"
