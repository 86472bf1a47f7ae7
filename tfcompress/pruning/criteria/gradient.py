"""Importance based on how steep the loss is."""

import numpy as np

from tfcompress.core.nouns import Criterion


class Gradient(Criterion):
    """`score_i = |dL/dw_i|`, of the mean gradient over the batches.

    The gradient is dense, so that masked weights have one too: a high score means that
    regrowing the weight would lower the loss most. RigL uses it to grow weights.

    Source: Evci et al., "Rigging the Lottery" (2020), section 3.

    Example:
        >>> Gradient()(np.ones(2), {"gradient": np.array([-3.0, 1.0])})
        array([3., 1.])
    """

    needs = frozenset({"gradient"})

    def __call__(self, weight, signals):
        """The absolute values."""
        return np.abs(signals["gradient"])
