"""Benchmarks of this host and of devices as one self-contained HTML file."""

import html

from tfcompress.core.files import check_writable, write_atomically
from tfcompress.measuring import html_page
from tfcompress.measuring.wording import (
    bytes_text,
    count_of,
    listed,
    ratio_text,
    time_text,
)

_UNKNOWN = "–"
_EXPLANATION = (
    "Ratios are to the first model in the same place. Init is the time from the file's "
    "bytes to a model that is ready to run. Memory is the most that opening and running "
    "the model added. Agreement is with this host's answers."
)


def write_html_benchmark(path, benchmarks, title="Benchmark"):
    """Writes one HTML page with a table of all models; it opens without a network.

    Each model is compared with the first one measured in the same place.

    Args:
        path: path of the page.
        benchmarks: `Benchmarks` of this host, of devices, or of both.
        title: heading of the page.

    Returns:
        The path.

    Raises:
        ValueError: if there are no rows, or the path cannot be written.

    Example:
        >>> from tfcompress.measuring.benchmark import Benchmarks
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> row = tfc.benchmark(model, runs=10, min_seconds=0)
        >>> path = write_html_benchmark(tmp_path / "a.html", Benchmarks((row,)))
        >>> "p90" in path.read_text()
        True
    """
    check_writable(path)
    if not benchmarks.rows:
        raise ValueError("The benchmarks have no rows: measure at least one model.")
    sections = [_models(benchmarks.rows), _errors(benchmarks.rows)]
    page = html_page.whole_page(
        title, _lead(benchmarks), "", sections, html_page.footer(_footer(benchmarks))
    )
    return write_atomically(path, page)


def _lead(benchmarks):
    names = dict.fromkeys(row.name for row in benchmarks.rows)
    places = dict.fromkeys(html.escape(row.cpu) for row in benchmarks.rows)
    return f"{count_of(len(names), 'model')} on {listed(places)}."


def _footer(benchmarks):
    if not benchmarks.about:
        return f"Measured on this host, not on a phone: {html_page.host()}."
    return f"Device: {html.escape(benchmarks.about)}. This host: {html_page.host()}."


def _models(rows):
    columns = _known_columns(rows)
    body = []
    for i, row in enumerate(rows):
        cells = [html_page.td(html.escape(row.cpu), "where", _how(row))]
        for name, column in columns.items():
            text, small = column[i]
            cells.append(html_page.td(text, name, small))
        body.append(html_page.row(html_page.breakable(row.name), cells))
    names = ["model", "where", *columns]
    kinds = "comparison benchmarks"
    table = html_page.table(kinds, "Benchmarks of models", names, body)
    return html_page.section("Models", _EXPLANATION, table)


def _known_columns(rows):
    """`{name: cells}` without columns that have no values."""
    firsts = {}
    for row in rows:
        firsts.setdefault(row.cpu, row)
    columns = {
        name: [cell(row, firsts[row.cpu]) for row in rows]
        for name, cell in _COLUMNS.items()
    }
    return {
        name: cells
        for name, cells in columns.items()
        if any(cell != (_UNKNOWN, "") for cell in cells)
    }


def _how(row):
    words = [
        getattr(row, "backend", ""),
        count_of(row.num_threads, "thread"),
        count_of(row.runs, "run"),
    ]
    return ", ".join(filter(None, words))


# Cells: text, and small print below it.


def _size(row, first):
    ratio = ratio_text(first.size_bytes, row.size_bytes, ("smaller", "larger"))
    return bytes_text(row.size_bytes), ratio


def _latency(row, first):
    if row.p50_ms is None:
        return _UNKNOWN, ""
    ratio = ratio_text(first.p50_ms, row.p50_ms, ("faster", "slower"))
    p90 = f"p90 {time_text(row.p90_ms)}"
    return time_text(row.p50_ms), f"{p90}<br>{ratio}" if ratio else p90


def _memory(row, _):
    share = getattr(row, "pss_bytes", None)
    added = (
        _UNKNOWN if row.peak_memory_bytes is None else bytes_text(row.peak_memory_bytes)
    )
    return added, "" if share is None else f"PSS {bytes_text(share)}"


def _delegated(row, _):
    if getattr(row, "num_nodes", None) is None:
        return _UNKNOWN, ""
    taken = (f"{html.escape(name)} {count}" for name, count in row.delegated.items())
    return f"{sum(row.delegated.values())} of {row.num_nodes}", "<br>".join(taken)


def _plain(field, text):
    def cell(row, _):
        value = getattr(row, field, None)
        return _UNKNOWN if value is None else text(value), ""

    return cell


_COLUMNS = {
    "size": _size,
    "median latency": _latency,
    "first run": _plain("first_ms", time_text),
    "init": _plain("init_ms", time_text),
    "memory": _memory,
    "nodes delegated": _delegated,
    "accuracy": _plain("accuracy", "{:.2%}".format),
    "agreement": _plain("same_top1", "{:.2%}".format),
}


def _errors(rows):
    items = "".join(
        f"<div><dt>{html_page.breakable(row.name)} on {html.escape(row.cpu)}</dt>"
        f"<dd>{html.escape(row.error)}</dd></div>"
        for row in rows
        if getattr(row, "error", None)
    )
    if not items:
        return ""
    return html_page.section(
        "Not all was measured", "", f'<dl class="reasons">{items}</dl>'
    )
