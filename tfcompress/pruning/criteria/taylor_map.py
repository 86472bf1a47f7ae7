"""Importance based on the change of the loss if a feature map becomes zero."""

import numpy as np

from tfcompress.core.nouns import Criterion


class TaylorMap(Criterion):
    """`Θ_k = E_n |1/M Σ_m a_nmk dL_n/da_nmk|`, `score_k = Θ_k / sqrt(Σ_j Θ_j²)`.

    Over samples `n` with losses `L_n`, the `M` positions `m` of map `k`, and the maps
    `j` of the layer, so that layers of different depth can be compared. All weights of
    a map have the same score: use it for channels and the pattern `"filter"`.

    Source: Molchanov et al., "Pruning Convolutional Neural Networks for Resource
    Efficient Inference" (2017), equation 8 and section 2.2 (normalization).

    Example:
        >>> TaylorMap()(np.ones((3, 2)), {"activation_gradient": np.array([3.0, 4.0])})
        array([0.6, 0.8])
    """

    needs = frozenset({"activation_gradient"})

    def __call__(self, weight, signals):
        """The effects divided by their norm within the layer."""
        effects = signals["activation_gradient"]
        norm = np.sqrt(np.sum(np.square(effects)))
        return effects / norm if norm > 0 else effects
