"""Importance minus computational cost."""

import numpy as np

from tfcompress.core.kinds import Number, PlugIn
from tfcompress.core.nouns import Criterion


class MinusCost(Criterion):
    """`score_g = Θ_g - λ C_g`, with the score `Θ` of another criterion.

    `C_g` are the multiply-accumulate operations per sample of a weight or of all
    weights of a group, in millions: of two equally important ones, the more expensive
    is removed first. It makes a difference between layers, with `scope="global"`.

    Args:
        criterion: a `tfc.criteria` object or name; preferably a normalized one, such as
            `"taylor_map"`, so that one `λ` fits all layers.
        strength: `λ`, score per million multiply-accumulate operations, at least 0.

    Raises:
        ValueError: if an argument is out of range.

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
        """The signals that the criterion needs, and how often weights are used."""
        return self.criterion.needs | {"positions"}

    @property
    def rounds(self):
        """The rounds of the criterion."""
        return self.criterion.rounds

    @property
    def repairs(self):
        """Whether the criterion repairs weights."""
        return self.criterion.repairs

    def __call__(self, weight, signals):
        """Scores of single elements."""
        return self.criterion(weight, signals) - self._cost(signals)

    def reduce(self, scores, axes):
        """As defined by the criterion."""
        return self.criterion.reduce(scores, axes)

    def score_groups(self, members, pool):
        """Scores of groups minus the costs of all their elements."""
        costs = pool([self._cost(signals) for _, signals in members], np.sum)
        return self.criterion.score_groups(members, pool) - costs

    def adjust(self, weight, keep, signals):
        """As defined by the criterion."""
        return self.criterion.adjust(weight, keep, signals)

    def _cost(self, signals):
        return self.strength * signals["positions"] / 1e6
