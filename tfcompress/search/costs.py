"""Costs that are limited, as sums of terms that depend on few choices each."""

import itertools

import numpy as np

from tfcompress.search.knapsack import Cost
from tfcompress.search.macs_cost import (
    add_product,
    macs_cost,
    parts_of_axis,
    shares_of_groups,
)


def costs_of(proxy, rows, limits):
    """A `knapsack.Cost` for each limit, over all members of some rows of a space.

    Args:
        proxy: the `Proxy` of the model.
        rows: `[(dimension, name, choices)]`.
        limits: `{"macs": limit, "kernel_bytes": limit}`, or one of them.
    """
    made = {"macs": macs_cost, "kernel_bytes": bytes_cost}
    return [made[name](proxy, rows, limit) for name, limit in limits.items()]


def bytes_cost(proxy, rows, limit):
    """The approximate bytes of the kernels of all members, as in `Proxy.size_bytes`.

    The bytes of a layer are those of the whole kernel with the layer's choices, times the
    fraction of each axis that is kept.

    Args:
        proxy: the `Proxy` of the model.
        rows: `[(dimension, name, choices)]`.
        limit: limit of the sum.

    Returns:
        A `knapsack.Cost`.
    """
    shares = shares_of_groups(proxy, rows)
    axes = {kernel: units for kernel, _, units in proxy.kernels()}
    cost = Cost(limit)
    for path, layer in proxy.layers.items():
        own = _own_choices(proxy, path, rows)
        parts = [parts_of_axis(u, shares, proxy) for u in axes[id(layer.kernel)]]
        for factors in itertools.product([own], *parts):
            add_product(cost, 1.0, factors)
    return cost


def _own_choices(proxy, path, rows):
    """`(rows, bytes of the whole kernel)` of the choices of one layer."""
    mine = {
        dimension: (row, choices)
        for row, (dimension, name, choices) in enumerate(rows)
        if name == path and dimension != "channels"
    }
    table = proxy.sizes(path, {name: choices for name, (_, choices) in mine.items()})
    return tuple(row for row, _ in mine.values()), np.asarray(table, float)
