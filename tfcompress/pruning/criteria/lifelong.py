"""Importance that was accumulated while a model trained."""

import numpy as np

from tfcompress.core.errors import did_you_mean
from tfcompress.core.kinds import Anything, Mapping, OneOf, Text
from tfcompress.core.nouns import Criterion


class Lifelong(Criterion):
    """`score_i = Ω_i |w_i|^p`, with a given importance `Ω`.

    Created by `tfc.callbacks.LifelongImportance`. `p = 2` if `Ω` is a curvature, as for
    Fisher information and synaptic intelligence, `p = 1` if it is a slope, as for
    memory aware synapses.

    Args:
        values: `{path of a weight: Ω}`, arrays that broadcast to the weight with its
            outputs on the last axis.
        power: `p`, 1 or 2.

    Raises:
        ValueError: if a weight without an importance is scored.

    Source: EWC: Kirkpatrick et al., "Overcoming catastrophic forgetting in neural
    networks" (2017); SI: Zenke et al., "Continual learning through synaptic
    intelligence" (2017).

    Example:
        >>> criterion = Lifelong({"": np.array([2.0, 1.0])})
        >>> criterion(np.array([1.0, 3.0]), tfc.signals.Signals())
        array([2., 9.])
    """

    def __init__(
        self,
        values: Mapping(
            Text(), Anything("an array"), "importances, {path of a weight: array}"
        ),
        power: OneOf(1, 2) = 2,
    ):
        self.values = values
        self.power = power

    def __call__(self, weight, signals):
        """The importances times the weights."""
        if signals.path not in self.values:
            raise ValueError(
                f"Lifelong has no importance for weight {signals.path!r}: it has those of "
                f"{len(self.values)} weights, by their paths in the model that was "
                f"trained.{did_you_mean(signals.path, self.values)} "
                "LifelongImportance provides them after the first epoch."
            )
        return np.asarray(self.values[signals.path]) * np.abs(weight) ** self.power

    def __repr__(self):
        return f"Lifelong({{{', '.join(self.values)}}}, power={self.power})"
