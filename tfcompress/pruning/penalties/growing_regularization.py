"""Units to remove, pushed to zero with increasing strength before they are cut."""

import keras
import numpy as np

from tfcompress.core.data import Batches
from tfcompress.core.kinds import Integer, Number, PlugIn, checked
from tfcompress.core.nouns import Criterion, Scope
from tfcompress.core.rules import PATTERNS
from tfcompress.pruning.channels.masks import unit_masks
from tfcompress.pruning.channels.selection import Selection, ratio_for
from tfcompress.pruning.penalties.unit_decay import UnitDecay
from tfcompress.pruning.prune import Engine


class GrowingRegularization(UnitDecay):
    """Chooses units of coupled channels and decays them while a model trains.

    `λ(t) = min(growth floor(t / frequency), ceiling)` for all weights of the chosen
    units, `w ← w / (1 + η λ)` after each step with learning rate `η`, decoupled from
    the gradients. The other units have time to take over, so that hardly anything is
    lost when training ends: then the rest of these units becomes exactly zero, and
    `tfc.shrink` removes them, together with everything they are coupled to
    (`tfc.channel_groups`). Fine-tune the result.

    Exactly one of `ratio` and the targets must be given.

    Args:
        ratio: fraction of the units to remove, in (0, 1).
        target_macs: maximum multiply-accumulate operations per sample; values up to 1
            are a fraction of the model's.
        target_parameters: maximum number of weights; values up to 1 are a fraction of
            the model's.
        criterion: a `tfc.criteria` object or name; units are chosen once, when training
            begins.
        scope: a `tfc.scopes` object or name.
        growth: `δ`, the increment of `λ`, above 0. Units have vanished once the sum of
            all `η λ` is about 5; with few steps it should be large, such as 1e-2.
        frequency: optimizer iterations between increments.
        ceiling: the largest `λ`, above 0.
        round_to: groups keep a multiple of this many channels.
        data: batches `(x, y)` for criteria that need signals.
        ignore: patterns of layers whose outputs are not cut.

    Raises:
        ValueError: if not exactly one of `ratio` and the targets is given, a target
            cannot be reached, a pattern matches nothing, or the model has no units that
            can be cut.

    Source: Wang et al., "Neural Pruning via Growing Regularization" (2021), section 3.2
    (GReg-1); coupled channels as in Fang et al., "DepGraph" (2023).

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6),
        ...     keras.layers.Dense(2)])
        >>> model.compile(keras.optimizers.SGD(0.1), "mse")
        >>> x, y = np.ones((64, 4)), np.ones((64, 2))
        >>> growing = tfc.callbacks.GrowingRegularization(0.5, growth=0.1)
        >>> _ = model.fit(x, y, epochs=2, verbose=0, callbacks=[growing])
        >>> tfc.shrink(model).layers[1].units
        3
    """

    @checked
    def __init__(
        self,
        ratio: Number(
            above=0, below=1, meaning="the fraction of units to remove"
        ) = None,
        *,
        target_macs: Number(above=0) = None,
        target_parameters: Number(above=0) = None,
        criterion: PlugIn(Criterion) = "l2",
        scope: PlugIn(Scope) = "local",
        growth: Number(above=0) = 1e-4,
        frequency: Integer(1) = 10,
        ceiling: Number(above=0) = 1.0,
        round_to: Integer(1) = 1,
        data: Batches() = None,
        ignore: PATTERNS = (),
    ):
        super().__init__()
        given = [x for x in (ratio, target_macs, target_parameters) if x is not None]
        if len(given) != 1:
            raise ValueError(
                f"GrowingRegularization got {len(given)} of ratio, target_macs and "
                "target_parameters: expected exactly one."
            )
        self.ratio = ratio
        self.target_macs, self.target_parameters = target_macs, target_parameters
        self.engine = Engine(criterion, "filter", scope)
        self.growth, self.frequency, self.ceiling = growth, frequency, ceiling
        self.round_to, self.data, self.ignore = round_to, data, ignore

    def on_train_begin(self, logs=None):
        """Chooses the units to remove."""
        super().on_train_begin(logs)
        self._keep = self._chosen()
        self._assign(~self._keep)

    def on_train_end(self, logs=None):
        """Sets them to zero."""
        super().on_train_end(logs)
        for key, mask in unit_masks(self._graph, self._keep).items():
            if key in self._shares:
                variable = self._variables[key]
                variable.assign(np.where(mask, variable.numpy(), 0))

    def _factor(self, step):
        """`λ` at an iteration."""
        gains = keras.ops.cast(step // self.frequency, "float32")
        return keras.ops.minimum(self.growth * gains, self.ceiling)

    def _chosen(self):
        """`(number of units,)` booleans, True = stays."""
        weights = self._prunables()
        measure = self.engine.measurement(self.model, list(weights.values()), self.data)
        select = Selection(
            self._graph, self._groups, weights, self.engine, measure, self.round_to
        )
        ratio = self.ratio or ratio_for(
            self._graph, select, self.target_macs, self.target_parameters
        )
        return select(ratio)
