"""Second moments of a layer's inputs, which determine its error."""

import tensorflow as tf

from tfcompress.core.matrices import has_matrix, rows
from tfcompress.core.nouns import Signal
from tfcompress.core.walk import leaf_of
from tfcompress.pruning.signals.per_output import calls_of


class InputMoments(Signal):
    """`E[x xᵀ]` over the rows `x` that the kernel multiplies, in float64.

    Rows are the inputs of a dense layer, or the patches that a convolution's window
    covers. The shape is `(groups, inputs, inputs)`: one group for dense and ordinary
    convolution layers, one per channel for depthwise ones. If the kernel's columns
    change by `Δ`, the layer's outputs have the mean squared error `Δᵀ E[x xᵀ] Δ`.

    Source: Hassibi and Stork, "Second order derivatives for network pruning: Optimal
    Brain Surgeon" (1993), applied to a single layer.

    Example:
        >>> tfc.signals.get("input_moments")
        InputMoments()
    """

    observes = frozenset({"calls"})

    def update(self, seen):
        """The sum of the products, and the number of rows."""
        parts = [_products(tf.cast(each, tf.float64)) for each in rows_of(seen, self)]
        return tuple(tf.add_n(list(sums)) for sums in zip(*parts, strict=True))

    def result(self, totals, ref):
        """The mean."""
        products, count = totals
        return products / count


def rows_of(seen, signal):
    """The rows that a kernel multiplies in each call, tensors `(groups, rows, inputs)`.

    Args:
        seen: a `Seen`.
        signal: the signal that needs them.

    Raises:
        ValueError: if they cannot be observed, or the layer does not run.
    """
    layer = leaf_of(seen.ref)
    if not has_matrix(layer) or seen.ref.variable is not layer.kernel:
        raise ValueError(
            f"Weight {seen.ref.path!r} ({type(layer).__name__}) multiplies no rows "
            f"of inputs that can be observed: {type(signal).__name__} supports "
            "kernels of dense, convolution and depthwise layers with channels last. "
            "Exclude the weight with a rule."
        )
    return [rows(layer, call.inputs) for call in calls_of(seen)]


def _products(matrix):
    products = tf.matmul(matrix, matrix, transpose_a=True)
    return products, tf.cast(tf.shape(matrix)[1], tf.float64)
