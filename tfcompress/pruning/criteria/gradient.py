"""Importance by how steep the loss is."""

import numpy as np

from tfcompress.core.nouns import Criterion


class Gradient(Criterion):
    """`score_i = |dL/dw_i|`, of the mean gradient over the batches.

    The gradient is the dense one, so that masked weights have one too: what would lower
    the loss most if it came back. RigL grows by it.

    Source: Evci et al., "Rigging the Lottery" (2020), section 3.

    Example:
        >>> Gradient()(np.ones(2), {"gradient": np.array([-3.0, 1.0])})
        array([3., 1.])
    """

    needs = frozenset({"gradient"})

    def __call__(self, weight, signals):
        """The absolute values."""
        return np.abs(signals["gradient"])
