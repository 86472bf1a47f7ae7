"""How far the probabilities are from uniform."""

import numpy as np

from tfcompress.core.nouns import ExitRule


class Entropy(ExitRule):
    """One minus the normalised entropy, from 0 (all equal) to 1 (certain).

        s = 1 + Σ_c p_c ln p_c / ln C

    for C classes. An entropy of at most T nats is a score of at least `1 - T / ln C`.

    Source: Teerapittayanon et al., "BranchyNet" (2016), section III-B.

    Example:
        >>> Entropy()(np.array([[[0.5, 0.5], [1.0, 0.0], [0.89, 0.11]]])).round(3)
        array([[0. , 1. , 0.5]])
    """

    def __call__(self, probabilities):
        """Scores `(exits, samples)`."""
        p = np.asarray(probabilities)
        terms = p * np.log(np.maximum(p, np.finfo(p.dtype).tiny))
        return 1 + terms.sum(axis=-1) / np.log(p.shape[-1])
