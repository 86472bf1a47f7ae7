"""Multiply-accumulates of a model, as a sum of terms that depend on few choices."""

import itertools

import numpy as np

from tfcompress.search import kernels
from tfcompress.search.knapsack import Cost


def macs_cost(proxy, rows, limit):
    """The MACs of all members of some rows of a space.

    The MACs of a kernel are those of the whole kernel times the fraction of each axis that
    is kept, which is a sum over the groups of channels along the axis.

    Args:
        proxy: the `Proxy` of the model.
        rows: `[(dimension, name, choices)]`; those that do not change MACs cost nothing.
        limit: limit of the sum.

    Returns:
        A `knapsack.Cost`.
    """
    places = {(dimension, name): i for i, (dimension, name, _) in enumerate(rows)}
    shares = shares_of_groups(proxy, rows)
    ratios = _ratios_of_layers(proxy, rows, places)
    cost = Cost(limit)
    for kernel, macs, axes in proxy.kernels():
        parts = [parts_of_axis(units, shares, proxy) for units in axes]
        if kernel in ratios:
            parts.append([ratios[kernel]])
        for factors in itertools.product(*parts):
            add_product(cost, macs, factors)
    return cost


def shares_of_groups(proxy, rows):
    """`{position of a group: (row, fraction kept by each choice)}` of channels."""
    known = {
        name: (row, choices)
        for row, (dimension, name, choices) in enumerate(rows)
        if dimension == "channels"
    }
    found = {}
    for position, group in enumerate(proxy.groups):
        if group.name in known:
            row, choices = known[group.name]
            kept = [proxy.num_kept(group, choice) / group.size for choice in choices]
            found[position] = row, np.array(kept)
    return found


def _ratios_of_layers(proxy, rows, places):
    """`{id(kernel): (row or rows, MACs relative to the layer's)}` of factorised layers."""
    found = {}
    for path, layer in proxy.layers.items():
        mine = [d for d in ("rank", "block") if (d, path) in places]
        if not mine:
            continue
        lists = [rows[places[d, path]][2] for d in mine]
        ratios = [
            kernels.macs_ratio(layer, dict(zip(mine, choice, strict=True)))
            for choice in itertools.product(*lists)
        ]
        shape = [len(choices) for choices in lists]
        found[id(layer.kernel)] = (
            tuple(places[d, path] for d in mine),
            np.reshape(ratios, shape),
        )
    return found


def parts_of_axis(units, shares, proxy):
    """What is kept of an axis: `[(rows, fractions)]`; no rows for what always stays."""
    fixed, parts = 0.0, []
    for position, count in proxy.count_by_group(units).items():
        fraction = count / units.size
        if position in shares:
            row, kept = shares[position]
            parts.append(((row,), fraction * kept))
        else:
            fixed += fraction
    return [*parts, ((), np.array(fixed))] if fixed else parts


def add_product(cost, macs, factors):
    """Adds a product of factors; those of the same row are multiplied elementwise."""
    rows = sorted({row for mine, _ in factors for row in mine})
    sizes = {
        row: size
        for mine, values in factors
        for row, size in zip(mine, values.shape, strict=True)
    }
    product = np.array(float(macs))
    for mine, values in factors:
        order = np.argsort(mine)
        values = np.transpose(values, order) if len(mine) > 1 else values
        shape = [sizes[row] if row in mine else 1 for row in rows]
        product = product * values.reshape(shape)
    if not rows:
        cost.constant += float(product)
        return
    cost.add(tuple(rows), np.broadcast_to(product, [sizes[row] for row in rows]))
