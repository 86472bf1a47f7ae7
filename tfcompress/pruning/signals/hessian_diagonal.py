"""How much the loss curves along each weight."""

import tensorflow as tf

from tfcompress.core.nouns import Signal


class HessianDiagonal(Signal):
    """`diag(H) = E_v[v * (H v)]`, with the Hessian `H` of the mean loss.

    Over random signs `v` for all weights at once, four of them per batch: what other
    weights contribute cancels in the mean (Hutchinson's estimator). Entries are noisy and
    may be negative; their sum over a weight is its trace. It has the shape of the weight.

    Source: Bekas et al., "An estimator for the diagonal of a matrix" (2007); Hutchinson
    (1990).

    Example:
        >>> tfc.signals.get("hessian_diagonal")
        HessianDiagonal()
    """

    observes = frozenset({"curvature"})

    def update(self, seen):
        """The estimate of the batch, and one batch."""
        return seen.curvature, tf.constant(1.0)

    def result(self, totals, ref):
        """The mean."""
        curvature, batches = totals
        return ref.layout.to_canonical(curvature / batches)
