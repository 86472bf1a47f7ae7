"""Curvature of the loss along each weight."""

import tensorflow as tf

from tfcompress.core.nouns import Signal


class HessianDiagonal(Signal):
    """`diag(H) = E_v[v * (H v)]`, with the Hessian `H` of the mean loss.

    The mean is over random signs `v` for all weights at once, four draws per batch: the
    contributions of other weights cancel in the mean (Hutchinson's estimator). Entries
    are noisy and may be negative; their sum over a weight is its trace. It has the
    shape of the weight.

    Source: Bekas et al., "An estimator for the diagonal of a matrix" (2007); Hutchinson
    (1990).

    Example:
        >>> tfc.signals.get("hessian_diagonal")
        HessianDiagonal()
    """

    observes = frozenset({"curvature"})

    def update(self, seen):
        """The estimate for the batch, and a count of one batch."""
        return seen.curvature, tf.constant(1.0)

    def result(self, totals, ref):
        """The mean."""
        curvature, batches = totals
        return ref.layout.to_canonical(curvature / batches)
