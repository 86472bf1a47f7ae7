"""Sparse learning of coupled channels: small units decay faster."""

import numpy as np

from tfcompress.core.kinds import Integer, Number, checked
from tfcompress.core.rules import PATTERNS
from tfcompress.pruning.penalties.unit_decay import UnitDecay

# Scale of the exponent, as in the paper.
_SPREAD = 4


class GroupNormRegularization(UnitDecay):
    """Decays the units of each group of coupled channels, smaller ones faster.

    `w ← w / (1 + η λ_k)` after each step with learning rate `η`, for all weights of
    unit `k`, with `λ_k = strength 2^(4 (I_max - I_k) / (I_max - I_min))` and `I_k` the
    root of the sum of squares of all weights that produce or read the unit. That pushes
    the units of a group apart; none is chosen beforehand. Afterwards, cut the small
    ones with `tfc.prune_channels(model, ratio)`.

    Args:
        strength: `λ` of the largest unit of a group, above 0; the smallest has 16 times
            as much.
        frequency: optimizer iterations between updates of the norms.
        ignore: patterns of layers whose outputs are not affected.

    Raises:
        ValueError: if a pattern matches nothing, or the model has no units that can be cut.

    Source: Fang et al., "DepGraph: Towards Any Structural Pruning" (2023), section 3.3
    (equation 4).

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(3),
        ...     keras.layers.Dense(1)])
        >>> _ = model.layers[0].kernel.assign([[3.0, 2.0, 1.0]])
        >>> _ = model.layers[1].kernel.assign([[4.0], [0.0], [0.0]])
        >>> sparse = tfc.callbacks.GroupNormRegularization(1e-3)
        >>> sparse.set_model(model)
        >>> sparse.shares().tolist()
        [1.0, 8.0, 16.0]
    """

    @checked
    def __init__(
        self,
        strength: Number(above=0) = 5e-4,
        frequency: Integer(1) = 10,
        ignore: PATTERNS = (),
    ):
        super().__init__()
        self.strength = strength
        self.frequency = frequency
        self.ignore = ignore

    def _factor(self, step):
        """`λ` of the largest units."""
        return self.strength

    def on_train_begin(self, logs=None):
        """Measures the norms."""
        super().on_train_begin(logs)
        self._batches = 0
        self._look()

    def on_train_batch_end(self, batch, logs=None):
        """Measures the norms every `frequency` steps."""
        self._batches += self.model.steps_per_execution
        if self._batches >= self.frequency:
            self._batches = 0
            self._look()

    def shares(self):
        """`2^(4 (I_max - I_k) / (I_max - I_min))` of the units of all groups in order."""
        shares = self._shares_of_units()
        return shares[np.concatenate([group.units for group in self._groups])]

    def _look(self):
        self._assign(self._shares_of_units())

    def _shares_of_units(self):
        """The shares of all units of the model, 0 for those that cannot be cut."""
        squares = np.zeros(self._graph.num_units)
        for slot in self._slots():
            weight = self._variables[id(slot.variable)].numpy()
            others = tuple(a for a in range(weight.ndim) if a != slot.axis)
            units = self._graph.units(slot.ids)
            np.add.at(squares, units, np.square(weight, dtype=np.float64).sum(others))
        shares = np.zeros(self._graph.num_units)
        for group in self._groups:
            norms = np.sqrt(squares[group.units])
            width = np.ptp(norms) or 1.0
            shares[group.units] = 2 ** (_SPREAD * (norms.max() - norms) / width)
        return shares
