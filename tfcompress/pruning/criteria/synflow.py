"""Importance before training, without data."""

import numpy as np

from tfcompress.core.kinds import Integer
from tfcompress.core.nouns import Criterion


class SynFlow(Criterion):
    """`score_i = |w_i| dR/d|w_i|`, with `R` the sum of the outputs of the positive model.

    The scores of each layer add up to the flow through the model, which is the same for
    all layers: in a layer with few weights, scores are high. Weights are removed in
    `rounds` steps of equal ratio, so that the flow moves to the remaining ones, and no
    layer is cut off before it has to be. Use it once, on new models, with
    `scope="global"`; no data is needed. Made for activations such as ReLU, which pass
    on positive values.

    Args:
        rounds: how often weights are scored, at least 1; in a single round, layers do
            collapse.

    Raises:
        ValueError: if `rounds` is not a positive integer.

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
        """The flow through each weight."""
        return np.abs(weight) * signals["synaptic_flow"]
