"""Importance based on the batch normalization scale of a channel."""

import numpy as np

from tfcompress.core.nouns import Criterion


class BatchNormGamma(Criterion):
    """`score_k = |γ_k|` of the batch normalization that reads output channel `k`.

    For models that were trained with a penalty on `γ`. No data is needed. All weights
    of a channel have the same score: use it for channels and the pattern `"filter"`,
    with `scope="global"`.

    Source: Liu et al., "Learning efficient convolutional networks through network
    slimming" (2017), section 3.

    Example:
        >>> BatchNormGamma()(np.ones((3, 2)), {"batch_norm_gamma": np.array([-0.5, 2])})
        array([0.5, 2. ])
    """

    needs = frozenset({"batch_norm_gamma"})

    def __call__(self, weight, signals):
        """The absolute values."""
        return np.abs(signals["batch_norm_gamma"])
