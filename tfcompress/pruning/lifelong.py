"""The importance of weights, accumulated while they train."""

import contextlib

import keras
import numpy as np

from tfcompress.core.collect import collect
from tfcompress.core.data import Batches
from tfcompress.core.kinds import Number, OneOf, checked
from tfcompress.core.optimizers import optimizer_of, watched_steps
from tfcompress.core.replicas import own_variable
from tfcompress.pruning.criteria.lifelong import Lifelong
from tfcompress.pruning.prune import kernels

# For each measure: its signal over data, and the power of the weight that multiplies it.
_SIGNALS = {
    "fisher": ("squared_gradient", 2),
    "memory_aware_synapses": ("output_sensitivity", 1),
    "synaptic_intelligence": (None, 2),
}


class LifelongImportance(keras.callbacks.Callback):
    """Accumulates the importance of each weight during training.

    - `"synaptic_intelligence"`: `ω += -g Δθ` at each step, with the gradient `g` of the
      loss without regularizers and the actual step `Δθ` of the optimizer; for each
      training `Ω += max(0, ω / (Δ² + ξ))`, with the total change `Δ` since it began.
      Computed in the graph of the training step, without additional data.
    - `"fisher"`: `Ω += E_n[(dL_n/dw)²]` over the samples of `data`, after each epoch
      (elastic weight consolidation).
    - `"memory_aware_synapses"`: `Ω += E_b |d‖f(x)‖²/dw|` over the batches of `data`,
      after each epoch; no labels are needed.

    Only kernels are measured. A later `fit` with the same object adds to the existing
    values. The result is the attribute `criterion`, for `tfc.prune`,
    `tfc.prune_channels` and pruning callbacks, in later trainings or, from the second
    epoch on, in this one. It multiplies `Ω` by `w²`, or by `|w|` for memory aware synapses.

    Args:
        measure: one of the three.
        data: batches `(x, y)`, or `x` for memory aware synapses; None for synaptic
            intelligence.
        damping: `ξ`, limits the importance of weights that hardly moved.

    Attributes:
        criterion: a `tfc.criteria.Lifelong` with the values after the last epoch.

    Raises:
        ValueError: if data is missing, or given although it is not used.

    Source: SI: Zenke et al., "Continual learning through synaptic intelligence" (2017),
    equations 3 to 5; EWC: Kirkpatrick et al., "Overcoming catastrophic forgetting in
    neural networks" (2017); MAS: Aljundi et al., "Memory aware synapses" (2018).

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model.compile("sgd", "mse")
        >>> importance = tfc.callbacks.LifelongImportance()
        >>> x, y = np.ones((4, 8)), np.ones((4, 4))
        >>> history = model.fit(x, y, callbacks=[importance], verbose=0)
        >>> tfc.report(tfc.prune(model, 0.5, criterion=importance.criterion)).sparsity
        0.5
    """

    @checked
    def __init__(
        self,
        measure: OneOf(*_SIGNALS) = "synaptic_intelligence",
        data: Batches() = None,
        damping: Number(above=0) = 0.1,
    ):
        super().__init__()
        self._signal, power = _SIGNALS[measure]
        if (data is None) != (self._signal is None):
            what = "takes no data, but got some" if data is not None else "needs data="
            raise ValueError(
                f"LifelongImportance({measure!r}) gathers over data: {what}."
            )
        self.measure, self.data, self.damping = measure, data, damping
        self.criterion = Lifelong({}, power)
        self._before = {}
        self._watching = contextlib.ExitStack()

    def on_train_begin(self, logs=None):
        """Starts watching the optimizer."""
        self._weights = kernels(self.model)
        self._before = dict(self.criterion.values)
        if self._signal is not None:
            return
        # In case an earlier training was interrupted.
        self._watching.close()
        variables = [weight.ref.variable for weight in self._weights]
        self._start = [variable.numpy() for variable in variables]
        with self.model.distribute_strategy.scope():
            self._path = [own_variable(v.shape, v.dtype) for v in variables]
        optimizer = optimizer_of(self.model, variables)
        self._watching.enter_context(watched_steps(optimizer, variables, self._see))
        # The step may have been traced in an earlier training.
        self.model.make_train_function(force=True)

    def _see(self, gradients, steps):
        for path, gradient, step in zip(self._path, gradients, steps, strict=True):
            path.assign_sub(gradient * step)

    def on_epoch_end(self, epoch, logs=None):
        """Accumulates the importance."""
        if self._signal is None:
            self._sum(self._before, self._of_this_training())
            return
        found = collect(self.model, self._weights, self.data, {self._signal})
        self._sum(self.criterion.values, [one[self._signal] for one in found])

    def _of_this_training(self):
        for weight, path, start in zip(
            self._weights, self._path, self._start, strict=True
        ):
            way = weight.ref.variable.numpy() - start
            share = path.numpy() / (np.square(way) + self.damping)
            yield weight.ref.layout.to_canonical(np.maximum(share, 0))

    def _sum(self, before, found):
        for weight, value in zip(self._weights, found, strict=True):
            path = weight.ref.path
            self.criterion.values[path] = before.get(path, 0) + value

    def on_train_end(self, logs=None):
        """Stops watching the optimizer."""
        if self._signal is None:
            self._watching.close()
            self.model.make_train_function(force=True)
