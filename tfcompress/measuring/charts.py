"""Charts as inline SVG, drawn without a browser and coloured by the page's style."""

import dataclasses
import html
import math

import numpy as np

from tfcompress.measuring.labels import NEAR, place_labels

# Odd, so that zero has its own bin.
NUM_BINS = 61

# For 13 px text in a wide system font; with a narrower guess, labels may touch.
_CHARACTER_WIDTH = 7.8
_LINE_HEIGHT = 15
_MARGIN = {"left": 52, "right": 14, "top": 30, "bottom": 46}


@dataclasses.dataclass(frozen=True)
class Point:
    """One labelled bubble of a scatter chart.

    Attributes:
        label: first line next to the bubble.
        detail: second line.
        x: a positive number.
        y: a number.
        area: the bubble's area in any unit; None for a small bubble.
        kind: CSS class.
    """

    label: str
    detail: str
    x: float
    y: float
    area: float | None = None
    kind: str = ""


def bar(fraction, title, kind=""):
    """A horizontal bar for a table cell.

    Args:
        fraction: filled part, in [0, 1].
        title: tooltip.
        kind: CSS class.

    Example:
        >>> 'width="80"' in bar(0.8, "80% zeros")
        True
    """
    return (
        f'<svg class="bar {kind}" viewBox="0 0 100 8" preserveAspectRatio="none" '
        f'role="img"><title>{html.escape(title)}</title>'
        '<rect class="track" width="100" height="8"/>'
        f'<rect class="fill" width="{100 * fraction:.4g}" height="8"/></svg>'
    )


def histogram(title, parts):
    """Histograms above each other, with log counts and a common symmetric value axis.

    Args:
        title: text for screen readers.
        parts: `{label: array or None}`, drawn from top to bottom.

    Example:
        >>> histogram("kernel", {"before": np.ones(4), "after": None}).count("<path")
        1
    """
    width, strip, top = 176, 58, 2
    values = {label: _finite(value) for label, value in parts.items()}
    known = [value for value in values.values() if value.size]
    limit = max((float(np.abs(value).max()) for value in known), default=0.0) or 1.0
    counts = {
        label: np.histogram(value, NUM_BINS, (-limit, limit))[0]
        for label, value in values.items()
    }
    highest = max(1, *(int(count.max()) for count in counts.values()))
    height = strip * len(parts) + 16
    shapes = []
    for position, (label, value) in enumerate(values.items()):
        base = top + strip * (position + 1) - 3
        if parts[label] is None:
            shapes.append(_text(1, base - 44, f"{label}: missing", "tick", "start"))
            continue
        shapes += _strip(label, value, counts[label], highest, width, base)
    for anchor, x, end in (
        ("start", 1, -limit),
        ("middle", width / 2, 0),
        ("end", width - 1, limit),
    ):
        text = f"{end:.2g}".replace("-", "−")
        shapes.append(_text(x, height - 3, text, "tick", anchor))
    return _svg(width, height, title, shapes)


def scatter(points, title, x_title, y_title, x_format, y_format, size=(720, 400)):
    """A chart of labelled bubbles with a logarithmic x axis.

    Labels are placed in the nearest free spot and connected to their bubble by a line if
    it is not next to them. Without a free spot, only the bubble's tooltip has the label.

    Args:
        points: list of `Point`, at least one.
        title: text for screen readers.
        x_title: name of the x axis, below it.
        y_title: name of the y axis, above it.
        x_format: function from a tick's number to its text.
        y_format: likewise for the y axis.
        size: width and height in pixels.

    Example:
        >>> points = [Point("a", "1 ms", 10, 0.9), Point("b", "2 ms", 99, 0.8)]
        >>> scatter(points, "t", "x", "y", str, str).count("<circle")
        2
    """
    width, height = size
    left, right = _MARGIN["left"], width - _MARGIN["right"]
    top, bottom = _MARGIN["top"], height - _MARGIN["bottom"]
    logs = [math.log(point.x) for point in points]
    x_low, x_high = _padded(logs, 0.12, least=0.25)
    # A difference of half a percent must not look dramatic.
    most = max(abs(point.y) for point in points)
    y_low, y_high = _padded([p.y for p in points], 0.15, least=0.005 * most or 1.0)

    def across(x):
        return left + (right - left) * (math.log(x) - x_low) / (x_high - x_low)

    def down(y):
        return bottom - (bottom - top) * (y - y_low) / (y_high - y_low)

    shapes = []
    for tick in _linear_ticks(y_low, y_high, 5):
        shapes.append(_line(left, down(tick), right, down(tick), "grid"))
        shapes.append(_text(left - 7, down(tick) + 4, y_format(tick), "tick", "end"))
    for tick in _log_ticks(math.exp(x_low), math.exp(x_high), width // 80):
        shapes.append(_line(across(tick), top, across(tick), bottom, "grid"))
        label = _text(across(tick), bottom + 17, x_format(tick), "tick", "middle")
        shapes.append(label)
    shapes.append(_text(4, 16, y_title, "axis", "start"))
    shapes.append(_text(right, height - 8, x_title, "axis", "end"))
    largest = max((point.area or 0 for point in points), default=0)
    bubbles = [(across(p.x), down(p.y), _radius(p.area, largest)) for p in points]
    bounds = (left + 4, top + 4, right - 2, bottom - 4)
    shapes += [_bubble(p, place) for p, place in zip(points, bubbles, strict=True)]
    shapes += _labels(points, bubbles, bounds)
    return _svg(width, height, title, shapes)


def _finite(value):
    if value is None:
        return np.empty(0)
    value = np.asarray(value, np.float32).ravel()
    return value[np.isfinite(value)]


def _strip(label, value, count, highest, width, base):
    """One histogram on the line `base`, 40 high, with one line per decade."""
    scale = 40 / math.log10(highest + 1)
    powers = range(int(math.log10(highest)) + 1)
    heights = [base - scale * math.log10(10**power + 1) for power in powers]
    zeros = 1 - np.count_nonzero(value) / max(value.size, 1)
    caption = f"{label}, {zeros:.0%} zero" if zeros >= 0.005 else label
    return [
        *(_line(0, y, width, y, "grid") for y in heights),
        f'<path class="{html.escape(label)}" d="{_steps(count, scale, width, base)}"/>',
        _line(0, base, width, base, "base"),
        _text(1, base - 44, caption, "tick", "start"),
        _text(width - 1, base - 44, f"peak {count.max():,}", "tick", "end"),
    ]


def _steps(count, scale, width, base):
    """A path along the tops of the bins; equal neighbours share one step."""
    tops = base - scale * np.log10(count + 1)
    edges = np.linspace(0, width, count.size + 1)
    path = [f"M0 {base}"]
    for position, y in enumerate(tops):
        if position + 1 < tops.size and tops[position + 1] == y:
            continue
        path.append(f"V{y:.1f}H{edges[position + 1]:.1f}")
    return "".join([*path, f"V{base}Z"])


def _radius(area, largest):
    return max(5.0, 16 * math.sqrt(area / largest)) if area and largest else 6.0


def _bubble(point, place):
    x, y, radius = place
    return (
        f'<circle class="{point.kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
        f"<title>{html.escape(f'{point.label} {point.detail}')}</title></circle>"
    )


def _labels(points, bubbles, bounds):
    longest = min(32, int(0.45 * (bounds[2] - bounds[0]) / _CHARACTER_WIDTH))
    lines = [(_shortened(p.label, longest), p.detail) for p in points]
    sizes = [
        (_CHARACTER_WIDTH * max(map(len, pair)), 2.0 * _LINE_HEIGHT) for pair in lines
    ]
    shapes = []
    corners = place_labels(bubbles, sizes, bounds)
    for pair, size, corner, bubble in zip(lines, sizes, corners, bubbles, strict=True):
        if corner is not None:
            shapes += _label(pair, size, corner, bubble)
    return shapes


def _label(lines, size, corner, bubble):
    (x, y, radius), (u, v), (wide, tall) = bubble, corner, size
    near_x, near_y = np.clip(x, u, u + wide), np.clip(y, v, v + tall)
    gap = math.hypot(near_x - x, near_y - y)
    # Text is aligned to the side facing the bubble.
    leaning, anchor = (u, "start") if u + wide / 2 >= x else (u + wide, "end")
    shapes = []
    if gap > radius + NEAR:
        start_x = x + (near_x - x) * radius / gap
        start_y = y + (near_y - y) * radius / gap
        shapes.append(_line(start_x, start_y, near_x, near_y, "leader"))
    return [
        *shapes,
        _text(leaning, v + 12, lines[0], "label", anchor),
        _text(leaning, v + 12 + _LINE_HEIGHT, lines[1], "detail", anchor),
    ]


def _shortened(text, length):
    return text if len(text) <= length else text[: length - 1] + "…"


def _padded(values, part, least):
    low, high = min(values), max(values)
    pad = max(part * (high - low), least)
    return low - pad, high + pad


def _linear_ticks(low, high, most):
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [position * step for position in range(first, last + 1)]


def _log_ticks(low, high, most):
    for multiples in ((1, 2, 5), (1, 3), (1,)):
        ticks = [
            multiple * 10.0**power
            for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
            for multiple in multiples
            if low <= multiple * 10.0**power <= high
        ]
        if len(ticks) <= most:
            break
    return ticks if len(ticks) >= 2 else _linear_ticks(low, high, 3)


def _line(x1, y1, x2, y2, kind):
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line class="{kind}" {ends}/>'


def _text(x, y, text, kind, anchor):
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{html.escape(text)}</text>"
    )


def _svg(width, height, title, shapes):
    return (
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img">'
        f"<title>{html.escape(title)}</title>{''.join(shapes)}</svg>"
    )
