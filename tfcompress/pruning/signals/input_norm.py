"""Magnitude of the inputs that a weight multiplies."""

import numpy as np
import tensorflow as tf

from tfcompress.core.matrices import from_matrix
from tfcompress.core.nouns import Signal
from tfcompress.core.walk import leaf_of
from tfcompress.pruning.signals.input_moments import rows_of


class InputNorm(Signal):
    """`sqrt(E[x_j²])` of the input `x_j` that each weight multiplies.

    The mean is over samples and, for convolutions, positions of the window: the square
    root of the diagonal of `InputMoments`, without the rest of the matrix. It has the
    shape of the weight.

    Source: Sun et al., "A simple and effective pruning approach for large language
    models" (2024), section 3.

    Example:
        >>> tfc.signals.get("input_norm")
        InputNorm()
    """

    observes = frozenset({"calls"})

    def update(self, seen):
        """The sum of the squares, and the number of rows."""
        parts = [tf.cast(each, tf.float64) for each in rows_of(seen, self)]
        squares = tf.add_n([tf.reduce_sum(part**2, axis=1) for part in parts])
        return squares, tf.cast(sum(tf.shape(part)[1] for part in parts), tf.float64)

    def result(self, totals, ref):
        """The square root of the mean."""
        squares, count = totals
        layer = leaf_of(ref)
        norms = np.sqrt(squares / count)[..., None]
        outputs = ref.layout.num_outputs // (len(norms) if len(norms) > 1 else 1)
        matrix = np.broadcast_to(norms, (*norms.shape[:2], outputs))
        return ref.layout.to_canonical(from_matrix(layer, matrix))
