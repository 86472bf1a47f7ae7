"""A comparison and a report as one self-contained HTML file."""

import html
import math

from tfcompress.core.compressed import treatments
from tfcompress.core.errors import check_model
from tfcompress.core.files import check_writable, write_atomically
from tfcompress.core.walk import leaf_refs, leaves, weight_paths
from tfcompress.measuring import html_page
from tfcompress.measuring.charts import Point, bar, histogram, scatter
from tfcompress.measuring.wording import (
    bytes_text,
    count_of,
    count_text,
    listed,
    points_text,
    ratio_text,
    time_text,
)

_NUM_OPEN_HISTOGRAMS = 12
_NUM_OPEN_NAMES = 24
_LESS, _FEWER, _FASTER = ("smaller", "larger"), ("fewer", "more"), ("faster", "slower")
_COLUMNS = (
    ("size", "size_bytes", bytes_text, _LESS),
    ("zipped", "zipped_bytes", bytes_text, _LESS),
    ("parameters", "parameters", count_text, _FEWER),
    ("non-zero", "nonzero_parameters", count_text, _FEWER),
    ("MACs", "macs", count_text, _FEWER),
    ("latency", "latency_ms", time_text, _FASTER),
)
_LAYER_COLUMNS = (
    *("weight", "zeros", "bits", "entropy"),
    *("shape", "parameters", "MACs", "transforms"),
)


def write_html_report(
    path,
    comparison,
    report=None,
    before=None,
    after=None,
    title="Compression report",
    notes=(),
    num_threads=1,
):
    """Writes one HTML page about a compressed model; it opens without a network.

    The headline compares the last row of the comparison with the first.

    Args:
        path: path of the page.
        comparison: result of `tfc.compare`.
        report: result of `tfc.report` for the compressed model; adds its layers.
        before: the dense Keras model; adds histograms of its kernels.
        after: the compressed Keras model, stripped or not; likewise.
        title: heading of the page.
        notes: sentences to print below the headline.
        num_threads: number of threads with which latency was measured.

    Returns:
        The path.

    Raises:
        ValueError: if the comparison has no row, or the path cannot be written.
        TypeError: if `before` or `after` is not a Keras 3 model.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> small = tfc.compress(model, {"dense.*": "uniform"})
        >>> table = tfc.compare({"dense": model, "8 bits": small}, latency=False)
        >>> report = tfc.report(small)
        >>> path = write_html_report(tmp_path / "a.html", table, report, model, small)
        >>> "8 bits" in path.read_text()
        True
    """
    check_writable(path)
    if not comparison.rows:
        raise ValueError("The comparison has no rows: compare at least one model.")
    for name, model in (("before", before), ("after", after)):
        if model is not None:
            check_model(model, f"write_html_report({name})")
    sections = [
        _notes(notes),
        _models(comparison),
        _layers(report) if report else "",
        _histograms({"before": before, "after": after}),
        _left_alone(report) if report else "",
    ]
    page = html_page.whole_page(
        title,
        " ".join(_lead(comparison, report)),
        _figures(comparison),
        sections,
        _footer(comparison, num_threads),
    )
    return write_atomically(path, page)


# What was done, in words and three numbers.


def _lead(comparison, report):
    """Sentences."""
    first, last = comparison.rows[0], comparison.rows[-1]
    if first is not last:
        yield f"“{html.escape(last.label)}” compared with “{html.escape(first.label)}”."
    if report is None:
        return
    kernels = [w for w in report.weights if w.macs is not None]
    treated = [w for w in kernels if w.transforms]
    if treated:
        names = dict.fromkeys(t.split("(")[0] for w in treated for t in w.transforms)
        yield (
            f"{html.escape(listed(names))} on {len(treated)} of {len(kernels)} kernels "
            f"of <code>{html.escape(report.model)}</code>."
        )
    yield f"{report.sparsity:.1%} of the kernel weights are zero."


def _figures(comparison):
    first, last = comparison.rows[0], comparison.rows[-1]
    if first is last:
        return ""
    figures = (
        _figure("Size", first.size_bytes, last.size_bytes, bytes_text, _LESS),
        _figure("Latency", first.latency_ms, last.latency_ms, time_text, _FASTER),
        _quality_figure(comparison, first, last),
    )
    return f'<dl class="figures">{"".join(figures)}</dl>'


def _figure(name, first, last, text, words):
    if first is None or last is None:
        return ""
    ratio = ratio_text(first, last, words)
    detail = f"{text(first)} → {text(last)}"
    is_worse = bool(ratio) and last > first
    return _number(name, ratio or f"1.00× the {name.lower()}", detail, is_worse)


def _quality_figure(comparison, first, last):
    before, after = first.accuracy, last.accuracy
    if before is None or after is None:
        return ""
    if not comparison.classifies:
        words = ("lower", "higher")
        return _figure("Mean squared error", -before, -after, _score, words)
    detail = f"{before:.2%} → {after:.2%}"
    if last.agreement is not None:
        detail += f"; same answer for {last.agreement:.2%}"
    change = points_text(before, after)
    is_worse = bool(change) and after < before
    return _number("Accuracy", change or "0.00 points apart", detail, is_worse)


def _number(name, text, detail, is_worse):
    number, _, word = text.partition(" ")
    warn = " warn" if is_worse else ""
    return (
        f'<div><dt>{name}</dt><dd><span class="number{warn}">{number}</span> '
        f'<span class="word{warn}">{word}</span>'
        f'<span class="detail">{detail}</span></dd></div>'
    )


def _notes(notes):
    items = "".join(f"<li>{html.escape(str(note))}</li>" for note in notes)
    return html_page.section("Notes", "", f"<ul>{items}</ul>") if items else ""


# The models: chart and table.


def _models(comparison):
    return html_page.section(
        "Models", "", _chart(comparison) + _comparison_table(comparison)
    )


def _chart(comparison):
    rows = [
        row
        for row in comparison.rows
        if row.accuracy is not None and math.isfinite(row.accuracy)
    ]
    if len(rows) < 2:
        return ""
    factor = 100 if comparison.classifies else 1
    quality = "accuracy" if comparison.classifies else "minus mean squared error"
    points = [
        Point(
            label=row.label,
            detail=time_text(row.latency_ms) if row.latency_ms else "",
            x=row.size_bytes,
            y=row.accuracy * factor,
            area=row.latency_ms,
            kind=_kind(comparison, row),
        )
        for row in rows
    ]
    wide, narrow = (
        scatter(
            points,
            title=f"{quality} over size; the table below has the numbers",
            x_title="size, smaller to the left (log)",
            y_title=f"{quality}, higher is better",
            x_format=lambda value: bytes_text(value, ".3g"),
            y_format=_percent_tick if comparison.classifies else _score,
            size=size,
        )
        for size in ((1040, 420), (340, 400))
    )
    caption = "Grey is the first model, filled the last."
    if any(row.latency_ms for row in rows):
        caption = f"The area of a circle is latency. {caption}"
    return (
        f'<div class="card"><div class="wide">{wide}</div>'
        f'<div class="narrow">{narrow}</div><small>{caption}</small></div>'
    )


def _kind(comparison, row):
    if row is comparison.rows[0]:
        return "first"
    return "last" if row is comparison.rows[-1] else ""


def _comparison_table(comparison):
    first, classifies = comparison.rows[0], comparison.classifies
    quality = "accuracy" if classifies else "−MSE"
    closeness = "agrees" if classifies else "differs by"
    body = []
    for row in comparison.rows:
        cells = [_ratio_cell(first, row, *column) for column in _COLUMNS]
        change = points_text(first.accuracy, row.accuracy) if classifies else ""
        cells.append(html_page.td(_quality(row.accuracy, classifies), quality, change))
        cells.append(html_page.td(_quality(row.agreement, classifies), closeness))
        name = f"{html.escape(row.label)} <small>{html.escape(row.kind)}</small>"
        body.append(html_page.row(name, cells, _kind(comparison, row)))
    names = ["model", *(column[0] for column in _COLUMNS), quality, closeness]
    return html_page.table("comparison", "Comparison of models", names, body)


def _ratio_cell(first, row, name, field, text, words):
    reference, value = getattr(first, field), getattr(row, field)
    if value is None:
        return html_page.td("–", name)
    return html_page.td(
        text(value), name, ratio_text(reference, value, words), f"{value:,}"
    )


def _quality(value, classifies):
    if value is None:
        return "–"
    return f"{value:.2%}" if classifies else _score(value)


def _score(value):
    return f"{value:.4g}".replace("-", "−")


def _percent_tick(value):
    return f"{value:.4g}%" if value <= 100 else ""


# The layers: table with bars, histograms, reasons.


def _layers(report):
    kernels = [w for w in report.weights if w.macs is not None or w.transforms]
    if not kernels:
        return ""
    most_bits = max(32, *(w.bits for w in kernels))
    body = [_layer(w, most_bits) for w in kernels]
    explanation = (
        "Bits are those of the smallest integer grid that holds the weight, 1 if each "
        "channel has only one number and its negative: the whole model takes "
        f"{bytes_text(report.memory_bytes)}. Entropy is the number of bits per weight of "
        f"an ideal code: {bytes_text(report.entropy_bytes)} for the whole model."
    )
    table = html_page.table("layers", "Weights of the layers", _LAYER_COLUMNS, body)
    return html_page.section("Layers", explanation, table)


def _layer(weight, most_bits):
    zeros, bits, name = f"{weight.sparsity:.1%}", str(weight.bits), weight.name
    about_bits = f"{name}: {bits} bits, {weight.unique_values:,} distinct values"
    transforms = " → ".join(f"<code>{html.escape(t)}</code>" for t in weight.transforms)
    cells = (
        _bar_cell(weight.sparsity, zeros, f"{name}: {zeros} zeros", "zeros"),
        _bar_cell(weight.bits / most_bits, bits, about_bits, "bits"),
        html_page.td(f"{weight.entropy:.2f}"),
        html_page.td("×".join(map(str, weight.shape))),
        html_page.td(f"{weight.parameters:,}"),
        html_page.td("–" if weight.macs is None else count_text(weight.macs)),
        html_page.td(transforms or '<span class="soft">left as it was</span>'),
    )
    return html_page.row(html_page.breakable(name), cells)


def _bar_cell(fraction, text, title, kind):
    drawing = bar(fraction, title, kind)
    return html_page.td(f'<span class="measure">{drawing}<span>{text}</span></span>')


def _histograms(models):
    kernels = {label: _kernels(m) for label, m in models.items() if m is not None}
    # The names of the last model come first, in its order.
    names = dict.fromkeys(name for k in reversed(kernels.values()) for name in k)
    if not names:
        return ""
    drawings = []
    for name in names:
        parts = {label: found.get(name) for label, found in kernels.items()}
        drawing = histogram(f"Weights of {name}", parts)
        drawings.append(f"<div><h3>{html_page.breakable(name)}</h3>{drawing}</div>")
    grid = '<div class="small-multiples">{}</div>'.format
    content = grid("".join(drawings[:_NUM_OPEN_HISTOGRAMS]))
    if rest := drawings[_NUM_OPEN_HISTOGRAMS:]:
        content += html_page.details(f"{len(rest)} more", grid("".join(rest)))
    explanation = (
        "How many weights have which value. Heights are logarithmic: each thin line is "
        "ten times the one below it."
    )
    return html_page.section("Weights", explanation, content)


def _kernels(model):
    """`{name as in the report: array}` of all kernels and all weights with transforms."""
    treated = {id(t.variable): t for _, t in treatments(model)}
    found, paths = {}, weight_paths(model)
    for _, layer in leaves(model):
        for ref in leaf_refs(layer):
            treatment = treated.get(id(ref.variable))
            if not ref.is_kernel and treatment is None:
                continue
            value = treatment.bake() if treatment else ref.variable.numpy()
            found[paths[id(ref.variable)]] = value
    return found


def _left_alone(report):
    reasons = {}
    for weight in report.weights:
        if weight.skipped:
            reasons.setdefault(weight.skipped, []).append(weight)
    if not reasons:
        return ""
    items = []
    for reason, weights in reasons.items():
        names = ", ".join(
            f"<code>{html_page.breakable(w.name)}</code>" for w in weights
        )
        count = "1 weight" if len(weights) == 1 else f"{len(weights)} weights"
        total = f"{count}, {sum(w.parameters for w in weights):,} parameters"
        is_short = len(weights) <= _NUM_OPEN_NAMES
        content = f"{total}: {names}" if is_short else html_page.details(total, names)
        items.append(f"<div><dt>{html.escape(reason)}</dt><dd>{content}</dd></div>")
    content = f'<dl class="reasons">{"".join(items)}</dl>'
    return html_page.section("Left as it was, and why", "", content)


def _footer(comparison, num_threads):
    is_timed = any(row.latency_ms for row in comparison.rows)
    latency = f"; latency with {count_of(num_threads, 'thread')}" if is_timed else ""
    return html_page.footer(
        f"Measured on this host, not on a phone: {html_page.host()}{latency}."
    )
