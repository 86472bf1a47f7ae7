"""Weights that share a few values."""

import numpy as np
import tensorflow as tf

from tfcompress.core.nouns import WeightTransform
from tfcompress.transforms.bins import sum_by_bin


class Codebook(WeightTransform):
    """Replaces each weight by the value of its cluster.

    `y_i = c[a_i]`, with `num_clusters` values `c` that are trained and assignments `a`
    that stay until `refresh`. Zeros are a cluster of their own that is never moved, so
    that a pruned weight stays pruned: at most `num_clusters + 1` distinct values.

    Gradients: `dL/dc_k` is the sum of `dL/dy_i` over the cluster (`a_i = k`);
    `dL/dw_i = dL/dy_i`, so that the latent weights keep learning for the next refresh.

    Refreshing clusters the current weights by k-means from linearly spaced starting
    values; at most `num_clusters` distinct values are reproduced exactly.

    Args:
        num_clusters: number of shared non-zero values, 1 to 65535.

    Attributes:
        values: variable `(num_clusters,)`, the shared values `c`.
        assignments: integer variable of the weight's shape; 0 stands for zero, `k` for
            `values[k - 1]`.

    Raises:
        ValueError: if `num_clusters` is out of range.

    Source: Han et al., "Deep Compression" (2016), section 3.

    Example:
        >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(8)])
        >>> shared = tfc.strip(tfc.compress(model, {".*": Codebook(4)}))
        >>> len(np.unique(shared.layers[0].kernel))
        4
    """

    shares_values = True

    def __init__(self, num_clusters=16):
        if not isinstance(num_clusters, int) or not 1 <= num_clusters <= 65535:
            raise ValueError(
                f"Codebook(num_clusters={num_clusters!r}): expected an integer from 1 "
                "to 65535."
            )
        self.num_clusters = num_clusters

    def build(self, layer, weight, layout):
        """Creates the shared values and the assignments."""
        self.values = layer.add_weight(
            name=f"{weight.name}_codebook",
            shape=(self.num_clusters,),
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
        """Clusters the weight anew."""
        values, assignments = cluster(weight[weight != 0], self.num_clusters)
        codes = np.zeros(weight.shape, np.int32)
        codes[weight != 0] = assignments + 1
        self.values.assign(values)
        self.assignments.assign(codes)

    def __call__(self, weight, training=False):
        """The shared values in the weight's place."""
        codes = tf.convert_to_tensor(self.assignments.value)

        @tf.custom_gradient
        def look_up(latent, values):
            def gradient(upstream):
                sums = sum_by_bin(upstream, codes, self.num_clusters + 1)
                return upstream, sums[1:]

            table = tf.concat([tf.zeros((1,), values.dtype), values], axis=0)
            # gather_nd, since gather takes twice as long for single numbers.
            return tf.gather_nd(table, codes[..., tf.newaxis]), gradient

        return look_up(weight, tf.convert_to_tensor(self.values.value))

    def bake(self, weight):
        """The shared values as a NumPy array."""
        values = self.values.numpy()
        return np.concatenate([[0], values]).astype(values.dtype)[
            self.assignments.numpy()
        ]


def cluster(points, num_clusters, num_iterations=1000):
    """k-means in one dimension.

    Sorts once; after that each iteration costs `num_clusters` binary searches, since a
    cluster is an interval of the sorted points and its mean comes from prefix sums.

    Args:
        points: array of any size, without NaN.
        num_clusters: number of clusters.
        num_iterations: at most this many; it stops when nothing moves.

    Returns:
        `(values, assignments)`: `num_clusters` sorted values (the last repeated if
        there are fewer distinct points) and, for each point, the index of its value.

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
    prefix = np.concatenate([[0.0], np.cumsum(order, dtype=np.float64)])
    values = np.linspace(order[0], order[-1], num_clusters, dtype=np.float64)
    for _ in range(num_iterations):
        edges = np.searchsorted(order, (values[1:] + values[:-1]) / 2)
        bounds = np.concatenate([[0], edges, [order.size]])
        counts = np.diff(bounds)
        sums = np.diff(prefix[bounds])
        means = np.where(counts > 0, sums / np.maximum(counts, 1), values)
        if np.array_equal(means, values):
            break
        values = means
    values = values.astype(points.dtype)
    assignments = np.searchsorted((values[1:] + values[:-1]) / 2, points)
    return values, assignments.astype(np.int32)
