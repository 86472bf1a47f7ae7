"""The squared gradients of batches."""

import tensorflow as tf

from tfcompress.core.nouns import Signal


class SquaredBatchGradient(Signal):
    """`E_b[(dL_b/dw)²]`, with the mean loss `L_b` of each batch.

    It has the shape of the weight.

    Source: Molchanov et al., "Importance Estimation for Neural Network Pruning" (2019),
    section 3.

    Example:
        >>> tfc.signals.get("squared_batch_gradient")
        SquaredBatchGradient()
    """

    observes = frozenset({"gradient"})

    def update(self, seen):
        """The square for the batch, and a count of one batch."""
        return seen.gradient**2, tf.constant(1.0)

    def result(self, totals, ref):
        """The mean."""
        squares, batches = totals
        return ref.layout.to_canonical(squares / batches)
