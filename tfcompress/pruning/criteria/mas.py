"""Importance based on how much outputs depend on a weight."""

import numpy as np

from tfcompress.core.nouns import Criterion


class MAS(Criterion):
    """`score_i = |w_i| E_b |dF_b/dw_i|`, with `F_b` the mean of `‖f(x)‖²` over a batch.

    Memory aware synapses measure how fast the outputs change; times the magnitude of
    the weight, this is the change without it. No labels are needed.
    `tfc.callbacks.LifelongImportance` accumulates it over training.

    Source: Aljundi et al., "Memory aware synapses" (2018), section 4.1.

    Example:
        >>> MAS()(np.array([1.0, -3.0]), {"output_sensitivity": np.array([4.0, 1.0])})
        array([4., 3.])
    """

    needs = frozenset({"output_sensitivity"})

    def __call__(self, weight, signals):
        """The sensitivities times the magnitudes."""
        return np.abs(weight) * signals["output_sensitivity"]
