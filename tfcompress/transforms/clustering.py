"""Optimal k-means in one dimension."""

import numpy as np

from tfcompress import native

# Without the native library, sums of this many pairs take about a minute and 1 GB.
MAX_REFERENCE_SIZE = 2**27


def optimal_clusters(points, num_clusters):
    """k-means in one dimension, with the smallest possible squared error.

    Minimizes `sum_i (x_i - v[a_i])²` over all `num_clusters` values `v` and assignments
    `a`. There are no restarts and no starting values: the result is optimal up to
    float64 rounding. 25 million weights take a few seconds.

    Args:
        points: array of any shape, floating or integer, finite.
        num_clusters: number of values, at least 1.

    Returns:
        `(values, assignments)`: `num_clusters` values in ascending order, float32 for
        float32 points and float64 otherwise, the last repeated if there are fewer
        distinct points; and for each point, in C order, the index of its value, `int32`.

    Raises:
        ValueError: if points are infinite or NaN, if num_clusters is less than 1, or if
            the native library is missing and there are too many points for NumPy.

    Source: Grønlund et al., "Fast exact k-means, k-medians and Bregman divergence
    clustering in 1D" (2017).

    Example:
        >>> from tfcompress.transforms.clustering import optimal_clusters
        >>> values, assignments = optimal_clusters([1.0, 5.0, 1.5, 5.5, 9.0], 3)
        >>> values.tolist(), assignments.tolist()
        ([1.25, 5.25, 9.0], [0, 1, 0, 1, 2])
    """
    points = np.ravel(points)
    if points.dtype not in (np.float32, np.float64):
        points = points.astype(np.float64)
    if num_clusters < 1:
        raise ValueError(f"num_clusters={num_clusters!r}: expected at least 1.")
    if not points.size:
        return np.zeros(num_clusters, points.dtype), np.zeros(0, np.int32)
    distinct, counts = _distinct(np.sort(points))
    if not np.isfinite(distinct[[0, -1]]).all():
        raise ValueError(
            "The points contain NaN or infinite values, which have no mean: remove them."
        )
    if distinct.size <= num_clusters:
        values = np.pad(distinct, (0, num_clusters - distinct.size), mode="edge")
        return values, np.searchsorted(distinct, points).astype(np.int32)
    # A power of two, so that squares neither overflow nor vanish and scaling is exact.
    scale = max(np.frexp(np.abs(distinct[[0, -1]]).max())[1], -1000)
    solve = _solve_natively if native.library() else _solve_in_numpy
    bounds, means = solve(
        np.ldexp(distinct.astype(np.float64), -scale), counts, num_clusters
    )
    values = np.ldexp(means, scale).astype(points.dtype)
    return values, _assign(points, distinct[bounds[1:-1]])


def _distinct(ordered):
    """Distinct values of a sorted array and how often each occurs."""
    starts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    starts = np.concatenate([[0], starts])
    return ordered[starts], np.diff(starts, append=ordered.size).astype(np.float64)


def _solve_natively(values, counts, num_clusters):
    bounds = np.empty(num_clusters + 1, np.uint32)
    means = np.empty(num_clusters, np.float64)
    solve = native.library().tfc_kmeans
    arguments = native.arguments(
        values, counts, values.size, num_clusters, bounds, means
    )
    native.check(solve(*arguments), f"Cannot cluster {values.size} distinct values")
    return bounds, means


def _solve_in_numpy(values, counts, num_clusters):
    """The textbook recursion, `D[k, j] = min_i D[k-1, i] + cost(i, j)`.

    The best `i` never moves left as `j` moves right, which halves the range for each
    `j`: level by level, all `j` of one depth of the bisection at once. Distances are
    measured from one center: clusters farther from it than about 1e8 times their width
    are split inexactly. The native solver has no such limit.
    """
    if values.size * num_clusters > MAX_REFERENCE_SIZE:
        raise ValueError(
            f"{values.size} distinct values into {num_clusters} clusters: without the "
            "native library at most 2**27 / num_clusters distinct values can be clustered."
        )
    centred = (values - np.average(values, weights=counts)).astype(np.longdouble)
    weights, sums, squares = (
        np.concatenate([[0], np.cumsum(terms)])
        for terms in (counts, counts * centred, counts * centred**2)
    )

    def cost(begin, end):
        return (squares[end] - squares[begin]) - (sums[end] - sums[begin]) ** 2 / (
            weights[end] - weights[begin]
        )

    ends = np.arange(1, values.size + 1)
    best = np.concatenate([[np.inf], cost(np.zeros_like(ends), ends)])
    starts = [np.zeros(values.size + 1, np.int32)]
    for k in range(1, num_clusters):
        best, start = _next_layer(best, cost, k)
        starts.append(start)
    bounds = [values.size]
    for start in reversed(starts):
        bounds.append(start[bounds[-1]])
    bounds = np.array(bounds[::-1])
    total = np.add.reduceat(counts * centred, bounds[:-1])
    means = total / np.add.reduceat(counts, bounds[:-1])
    return bounds, (means + np.average(values, weights=counts)).astype(np.float64)


def _next_layer(best, cost, num_clusters):
    """`D[k + 1]` and its best `i`, from `D[k]`; fewer points than clusters cost inf."""
    size = best.size
    found, start = np.full(size, np.inf, best.dtype), np.zeros(size, np.int32)
    step = 1 << size.bit_length()
    while step := step // 2:
        ends = np.arange(step, size, 2 * step)
        ends = ends[ends > num_clusters]
        if not ends.size:
            continue
        # The results one step to either side are known.
        low = np.maximum(start[ends - step], num_clusters)
        after = np.minimum(ends + step, size)
        high = np.minimum(np.append(start, size)[after], ends - 1)
        lengths = high - low + 1
        firsts = np.cumsum(lengths) - lengths
        begin = np.arange(lengths.sum()) - np.repeat(firsts - low, lengths)
        totals = best[begin] + cost(begin, np.repeat(ends, lengths))
        found[ends] = np.minimum.reduceat(totals, firsts)
        is_best = totals == np.repeat(found[ends], lengths)
        start[ends] = np.minimum.reduceat(np.where(is_best, begin, size), firsts)
    return found, start


def _assign(points, edges):
    """Number of edges at or below each point."""
    if native.library() is None or points.dtype != np.float32:
        return np.searchsorted(edges, points, side="right").astype(np.int32)
    assignments = np.empty(points.size, np.int32)
    native.library().tfc_kmeans_assign(
        *native.arguments(points, points.size, edges, edges.size, assignments)
    )
    return assignments
