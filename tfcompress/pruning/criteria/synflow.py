"""Importance before training and without data."""

import numpy as np

from tfcompress.core.kinds import Integer
from tfcompress.core.nouns import Criterion


class SynFlow(Criterion):
    """`score_i = |w_i| dR/d|w_i|`, with `R` the sum of the outputs of the positive model.

    What a layer scores in all is what flows through the model, the same for each: a layer
    of few weights scores them high. Weights go in `rounds` steps of equal ratio, so that
    the flow moves to those that are left, and no layer is cut off before it has to be.
    For new models, once, with `scope="global"`; no data are needed. Made for activations
    such as ReLU, that hand on what is positive.

    Args:
        rounds: how often weights are scored; in a single round layers do collapse.

    Source: Tanaka et al., "Pruning neural networks without any data by iteratively
    conserving synaptic flow" (2020), algorithm 1.

    Example:
        >>> model = keras.Sequential([keras.Input((9,)), keras.layers.Dense(9),
        ...     keras.layers.Dense(1)])
        >>> small = tfc.prune(model, 0.8, "synflow", scope="global")
        >>> tfc.report(small).sparsity, [bool(np.any(a.kernel)) for a in small.layers]
        (0.8, [True, True])
    """

    needs = frozenset({"synaptic_flow"})

    def __init__(self, rounds: Integer(1) = 100):
        self.rounds = rounds

    def __call__(self, weight, signals):
        """What flows through each weight."""
        return np.abs(weight) * signals["synaptic_flow"]
