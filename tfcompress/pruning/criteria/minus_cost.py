"""Importance minus what it costs."""

import numpy as np

from tfcompress.core.kinds import Number, PlugIn
from tfcompress.core.nouns import Criterion


class MinusCost(Criterion):
    """`score_g = Θ_g - λ C_g`, with the score `Θ` of another criterion.

    `C_g` are the multiply-accumulates for one sample of a weight or of all weights of a
    group, in millions: of two that matter as much, the more expensive goes first. It
    makes a difference between layers, with `scope="global"`.

    Args:
        criterion: a `tfc.criteria` object or name; one that is normalized, such as
            `"taylor_map"`, so that a `λ` fits all layers.
        strength: `λ`, score for each million multiply-accumulates.

    Source: Molchanov et al., "Pruning Convolutional Neural Networks for Resource
    Efficient Inference" (2017), section 2.2 (FLOPs regularization).

    Example:
        >>> MinusCost("l1", 0.5)(np.array([4.0]), {"positions": np.array(2e6)})
        array([3.])
    """

    def __init__(
        self, criterion: PlugIn(Criterion) = "taylor_map", strength: Number(0) = 1e-3
    ):
        self.criterion = criterion
        self.strength = strength

    @property
    def needs(self):
        """What the criterion needs, and how often weights are used."""
        return self.criterion.needs | {"positions"}

    @property
    def rounds(self):
        """Those of the criterion."""
        return self.criterion.rounds

    @property
    def repairs(self):
        """Whether the criterion does."""
        return self.criterion.repairs

    def __call__(self, weight, signals):
        """Scores of single elements."""
        return self.criterion(weight, signals) - self._cost(signals)

    def reduce(self, scores, axes):
        """As the criterion does."""
        return self.criterion.reduce(scores, axes)

    def score_groups(self, members, pool):
        """Scores of groups minus the costs of all their elements."""
        costs = pool([self._cost(signals) for _, signals in members], np.sum)
        return self.criterion.score_groups(members, pool) - costs

    def adjust(self, weight, keep, signals):
        """As the criterion does."""
        return self.criterion.adjust(weight, keep, signals)

    def _cost(self, signals):
        return self.strength * signals["positions"] / 1e6
