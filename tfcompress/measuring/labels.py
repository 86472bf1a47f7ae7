"""Places labels next to the points of a chart."""

import math

import numpy as np

# A label further than this from its bubble is connected to it by a line.
NEAR = 8

_NUM_ORDERS = 24
_GRID = 6.0
_ALONG = np.linspace(0.1, 0.9, 9)
_CROSSING = 300.0
_NO_ROOM = 1e4


def place_labels(bubbles, sizes, bounds):
    """Upper left corners of labels that cover no bubble, label or line.

    One label after another takes the free spot nearest to its bubble; of many orders, the
    one with the shortest distances is used.

    Args:
        bubbles: list of `(x, y, radius)`.
        sizes: width and height of each label.
        bounds: left, top, right and bottom limits for labels.

    Returns:
        A list of `(x, y)`, with None for a label without a free spot.

    Example:
        >>> place_labels([(50, 50, 5)], [(40, 20)], (0, 0, 100, 100))
        [(59.0, 40.0)]
    """
    generator = np.random.default_rng(0)
    orders = [generator.permutation(len(bubbles)) for _ in range(_NUM_ORDERS)]
    choices = [_place_in_order(order, bubbles, sizes, bounds) for order in orders]
    return min(choices, key=lambda choice: choice[0])[1]


def _place_in_order(order, bubbles, sizes, bounds):
    """The total cost, and the corners."""
    around = [(x - r - 3, y - r - 3, x + r + 3, y + r + 3) for x, y, r in bubbles]
    labels, taken, corners, total = [], list(around), [None] * len(bubbles), 0.0
    for index in order:
        bubble, (wide, tall) = bubbles[index], sizes[index]
        apart = [a for a, b in zip(around, bubbles, strict=True) if _apart(bubble, b)]
        in_the_way = labels + apart
        cost, spot, line = _best_spot(bubble, (wide, tall), bounds, taken, in_the_way)
        total += cost
        if cost == _NO_ROOM:
            continue
        u, v = corners[index] = spot
        labels.append((u, v, u + wide, v + tall))
        taken.append((u - 8, v - 2, u + wide + 8, v + tall + 2))
        taken += [(p - 3, q - 3, p + 3, q + 3) for p, q in line]
    return total, corners


def _best_spot(bubble, size, bounds, taken, in_the_way):
    """Cost, corner and points of the line of the cheapest free spot.

    Args:
        bubble: `(x, y, radius)`.
        size: size of the label.
        bounds: limits of the chart.
        taken: boxes that the label must not touch.
        in_the_way: boxes that its line should not cross.
    """
    (x, y, radius), (wide, tall), (left, top, right, bottom) = bubble, size, bounds
    columns = np.append(np.arange(left, right - wide, _GRID), x + radius + 4)
    rows = np.append(np.arange(top, bottom - tall, _GRID), y - tall / 2)
    u, v = np.meshgrid(columns, rows)
    free = (u + wide <= right) & (v >= top) & (v + tall <= bottom)
    for a, b, c, d in taken:
        free &= (u >= c) | (u + wide <= a) | (v >= d) | (v + tall <= b)
    near_x, near_y = np.clip(x, u, u + wide), np.clip(y, v, v + tall)
    line = [(x + t * (near_x - x), y + t * (near_y - y)) for t in _ALONG]
    crosses = np.zeros_like(free)
    for a, b, c, d in in_the_way:
        for p, q in line:
            crosses |= (p > a) & (p < c) & (q > b) & (q < d)
    gap = np.hypot(near_x - x, near_y - y)
    # Of equally near spots, prefer the one level with the bubble, on its right.
    cost = gap + 0.2 * np.abs(v + tall / 2 - y) + 2.0 * (u < x) + _CROSSING * crosses
    best = np.argmin(np.where(free, cost, np.inf))
    if not free.flat[best]:
        return _NO_ROOM, None, []
    is_tied = gap.flat[best] > radius + NEAR
    points = [(p.flat[best], q.flat[best]) for p, q in line] if is_tied else []
    return float(cost.flat[best]), (float(u.flat[best]), float(v.flat[best])), points


def _apart(bubble, other):
    """Whether a line from one bubble does not have to start inside the other."""
    return math.dist(bubble[:2], other[:2]) > bubble[2] + other[2] + 3
