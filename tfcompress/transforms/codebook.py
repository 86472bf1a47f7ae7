"""Weights that share a few values."""

import numpy as np
import tensorflow as tf

from tfcompress.core.kinds import Flag, Integer, OneOf
from tfcompress.core.layout import Layout
from tfcompress.core.nouns import WeightTransform
from tfcompress.transforms.bins import sum_by_bin
from tfcompress.transforms.clustering import optimal_clusters

# Tolerance for means that are equal up to rounding.
_CLOSE = 1e-4
_MOST_DRAWN_FROM = 2**15


def _linear(order, num_clusters):
    return np.linspace(order[0], order[-1], num_clusters)


def _density(order, num_clusters):
    middles = (np.arange(num_clusters) + 0.5) / num_clusters
    return order[(middles * order.size).astype(int)]


def _k_means_plus_plus(order, num_clusters):
    # Quantiles represent the points: enough to draw from, and far fewer.
    size = max(_MOST_DRAWN_FROM, 4 * num_clusters)
    if order.size > size:
        order = order[np.linspace(0, order.size - 1, size, dtype=int)]
    generator = np.random.default_rng(0)
    values = [generator.choice(order)]
    distance = np.square(order - values[0])
    for _ in range(num_clusters - 1):
        total = np.cumsum(distance)
        drawn = np.searchsorted(total, generator.random() * total[-1], side="right")
        values.append(order[min(drawn, order.size - 1)])
        distance = np.minimum(distance, np.square(order - values[-1]))
    return np.sort(values)


def _optimal(order, num_clusters):
    return optimal_clusters(order, num_clusters)[0]


STARTS = {
    "linear": _linear,
    "density": _density,
    "k-means++": _k_means_plus_plus,
    "optimal": _optimal,
}


class Codebook(WeightTransform):
    """Replaces each weight with the value of its cluster.

    `y_i = c[a_i]`, with `num_clusters` trained values `c` and assignments `a` that are
    fixed until `refresh`. Zeros form a separate cluster that never moves, so that a
    pruned weight stays pruned: at most `num_clusters + 1` distinct values.

    Gradients: `dL/dc_k` is the sum of `dL/dy_i` over the cluster (`a_i = k`);
    `dL/dw_i = dL/dy_i`, so that transforms before it in the list keep learning.

    Refreshing clusters the current weights with k-means; up to `num_clusters` distinct
    values are reproduced exactly. After a `Mask` that a callback still changes, sharing
    waits until the schedule is over: clusters that include weights still to be pruned
    do not fit those that stay. If a mask changes after that, latent weights first take
    on their shared values, since each had followed its own gradient while that had no
    effect.

    Args:
        num_clusters: number of shared non-zero values, 1 to 65535.
        initialization: the initial values of k-means, see `cluster`: `"linear"` keeps
            the few large weights apart, which is best for accuracy in the paper;
            `"density"` places more values where there are more weights; `"k-means++"`
            lies in between; `"optimal"` has the smallest possible squared error.
        per_channel: whether each output channel has its own values. After a transform
            that shares values between channels, there is a single set.

    Attributes:
        values: variable `(num_clusters,)`, the shared values `c`; with `per_channel`
            `(channels num_clusters,)`, channel after channel.
        assignments: integer variable of the weight's shape; 0 stands for zero, `k` for
            `values[k - 1]`.

    Raises:
        ValueError: if `num_clusters` or `initialization` is out of range.

    Source: Han et al., "Deep Compression" (2016), section 3.

    Example:
        >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(8)])
        >>> shared = tfc.strip(tfc.compress(model, {".*": Codebook(4)}))
        >>> len(np.unique(shared.layers[0].kernel))
        4
    """

    def __init__(
        self,
        num_clusters: Integer(1, 65535) = 16,
        initialization: OneOf(*STARTS) = "linear",
        per_channel: Flag() = False,
    ):
        self.num_clusters = num_clusters
        self.initialization = initialization
        self.per_channel = per_channel

    waits = True

    @property
    def shares_values(self):
        """One set of values for all channels, unless each has its own."""
        return not self.per_channel

    def build(self, layer, weight, layout):
        """Creates the shared values and the assignments."""
        # Without outputs, all weights are one channel.
        self.layout = layout if self.per_channel else Layout(layout.shape, ())
        self.values = layer.add_weight(
            name=f"{weight.name}_codebook",
            shape=(self.layout.num_outputs * self.num_clusters,),
            dtype=weight.dtype,
            initializer="zeros",
            trainable=True,
        )
        self.assignments = layer.add_weight(
            name=f"{weight.name}_assignments",
            shape=weight.shape,
            dtype="int32",
            initializer="zeros",
            trainable=False,
        )

    def refresh(self, weight):
        """Clusters the weight again, each channel separately if it has its own values."""
        canonical = self.layout.to_canonical(weight)
        num_sets = canonical.shape[-1]
        values = np.empty((num_sets, self.num_clusters), weight.dtype)
        codes = np.zeros(canonical.shape, np.int32)
        for k in range(num_sets):
            kept = canonical[..., k] != 0
            values[k], assignments = cluster(
                canonical[kept, k], self.num_clusters, self.initialization
            )
            codes[kept, k] = assignments + 1 + k * self.num_clusters
        self.values.assign(np.ravel(values))
        self.assignments.assign(self.layout.from_canonical(codes))

    def settle(self, weight):
        """Sets weights to their cluster's value unless that is still their mean."""
        codes = np.where(weight != 0, self.assignments.numpy(), 0).ravel()
        values = np.concatenate([[0.0], self.values.numpy()])
        counts = np.bincount(codes, minlength=values.size)
        means = np.bincount(codes, weight.ravel(), values.size) / np.maximum(counts, 1)
        has_moved = np.abs(means - values) > _CLOSE * np.abs(values).max()
        # Weights without a cluster have regrown; they have no shared value yet.
        has_moved[0] = False
        settled = np.where(has_moved[codes], values[codes], weight.ravel())
        return settled.astype(weight.dtype).reshape(weight.shape)

    def __call__(self, weight, training=False):
        """The shared values in place of the weight."""
        # Zeros from an earlier transform stay zero, including those of learned masks.
        codes = tf.convert_to_tensor(self.assignments.value)
        codes = tf.where(weight != 0, codes, tf.zeros_like(codes))

        @tf.custom_gradient
        def look_up(latent, values):
            def gradient(upstream):
                sums = sum_by_bin(upstream, codes, values.shape[0] + 1)
                return upstream, sums[1:]

            table = tf.concat([tf.zeros((1,), values.dtype), values], axis=0)
            # gather_nd, because gather takes twice as long for single numbers.
            return tf.gather_nd(table, codes[..., tf.newaxis]), gradient

        return look_up(weight, tf.convert_to_tensor(self.values.value))

    def bake(self, weight):
        """The shared values as a NumPy array."""
        values = self.values.numpy()
        codes = np.where(weight != 0, self.assignments.numpy(), 0)
        return np.concatenate([[0], values]).astype(values.dtype)[codes]


def cluster(points, num_clusters, initialization="linear", num_iterations=1000):
    """k-means in one dimension.

    Sorts once; after that, each iteration costs `num_clusters` binary searches, since a
    cluster is an interval of the sorted points and its mean follows from prefix sums.

    Args:
        points: array of any size, without NaN.
        num_clusters: number of clusters.
        initialization: `"linear"`: values evenly spaced from the smallest point to the
            largest; `"density"`: quantiles, with equally many points between neighbors;
            `"k-means++"`: points drawn, always with the same seed, with a probability
            proportional to the squared distance from those drawn before; `"optimal"`:
            the best values, see `tfcompress.transforms.clustering`.
        num_iterations: maximum number of iterations; it stops when nothing changes.

    Returns:
        `(values, assignments)`: `num_clusters` sorted values (the last repeated if
        there are fewer distinct points) and, for each point, the index of its value.

    Source: Han et al., "Deep Compression" (2016), section 3.2; Arthur and Vassilvitskii,
    "k-means++" (2007), section 2.2.

    >>> values, assignments = cluster(np.array([1.0, 5.0, 1.2, 5.2]), 2)
    >>> values.tolist(), assignments.tolist()
    ([1.1, 5.1], [0, 1, 0, 1])
    """
    points = np.ravel(points)
    if not points.size:
        return np.zeros(num_clusters, points.dtype), np.zeros(0, np.int32)
    order = np.sort(points)
    distinct = order[np.concatenate([[True], order[1:] != order[:-1]])]
    if distinct.size <= num_clusters:
        values = np.pad(distinct, (0, num_clusters - distinct.size), mode="edge")
        return values, np.searchsorted(distinct, points).astype(np.int32)
    start = STARTS[initialization](order.astype(np.float64), num_clusters)
    values = _settle(order, start, num_iterations).astype(points.dtype)
    assignments = np.searchsorted((values[1:] + values[:-1]) / 2, points)
    return values, assignments.astype(np.int32)


def _settle(order, values, num_iterations):
    """Moves sorted values to the means of their clusters until nothing changes."""
    prefix = np.concatenate([[0.0], np.cumsum(order, dtype=np.float64)])
    for _ in range(num_iterations):
        edges = np.searchsorted(order, (values[1:] + values[:-1]) / 2)
        bounds = np.concatenate([[0], edges, [order.size]])
        counts = np.diff(bounds)
        sums = np.diff(prefix[bounds])
        means = np.where(counts > 0, sums / np.maximum(counts, 1), values)
        if np.array_equal(means, values):
            break
        values = means
    return values
