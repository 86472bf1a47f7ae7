"""Importance by how much outputs depend on a weight."""

import numpy as np

from tfcompress.core.nouns import Criterion


class MAS(Criterion):
    """`score_i = |w_i| E_b |dF_b/dw_i|`, with `F_b` the mean of `‖f(x)‖²` over a batch.

    Memory aware synapses say how fast the outputs change; times the size of the weight, it
    is by how much without it. No labels are needed. Over the training,
    `tfc.callbacks.LifelongImportance` adds it up.

    Source: Aljundi et al., "Memory aware synapses" (2018), section 4.1.

    Example:
        >>> MAS()(np.array([1.0, -3.0]), {"output_sensitivity": np.array([4.0, 1.0])})
        array([4., 3.])
    """

    needs = frozenset({"output_sensitivity"})

    def __call__(self, weight, signals):
        """The sensitivities times the sizes."""
        return np.abs(weight) * signals["output_sensitivity"]
