"""Importance of connections before training."""

import numpy as np

from tfcompress.core.nouns import Criterion


class SNIP(Criterion):
    """`score_i = |w_i dL/dw_i|`, of the mean gradient over the batches.

    The first-order change of the loss if a connection is removed. Use it once, on new
    models, with `scope="global"`. One batch of about ten samples per class is enough.
    Weights need an initializer that scales with the size of the layer, as Keras' do;
    otherwise the first layers are favored.

    Source: Lee et al., "SNIP: Single-shot network pruning based on connection
    sensitivity" (2019), equation 6.

    Example:
        >>> SNIP()(np.array([1.0, 3.0]), {"gradient": np.array([4.0, -1.0])})
        array([4., 3.])
    """

    needs = frozenset({"gradient"})

    def __call__(self, weight, signals):
        """The sensitivities."""
        return np.abs(weight * signals["gradient"])
