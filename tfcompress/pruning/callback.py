"""Magnitude pruning and its relatives, as a Keras callback."""

import keras
import numpy as np

from tfcompress.core.collect import collect
from tfcompress.core.compressed import treatments
from tfcompress.core.nouns import Criterion, Pattern, Schedule, Scope
from tfcompress.transforms.mask import Mask


class Pruning(keras.callbacks.Callback):
    """Assigns the masks of a model while it trains.

    Whenever the schedule is due, the weights with the lowest scores are masked:
    exactly as many as the schedule's sparsity says, chosen by `criterion` among the
    groups of `pattern`, shared out between the weights by `scope`. Weights are scored
    on their latent values, so a masked weight can return later.

    Steps are optimizer iterations: `steps_per_execution`, resumed training and custom
    loops (call `update(step)` yourself) all keep their place in the schedule. Masks are
    variables of the model and are saved with it.

    Args:
        schedule: a `tfc.schedules` object, or a number for a constant sparsity.
        criterion: a `tfc.criteria` object or name.
        pattern: a `tfc.patterns` object or name.
        scope: a `tfc.scopes` object or name.
        data: batches over which criteria that need signals gather them.

    Raises:
        ValueError: if the model has no `Mask` transform, or if weights are not finite.

    Source: Zhu and Gupta, "To prune, or not to prune" (2017).

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model = tfc.compress(model, {".*": "mask"})
        >>> pruning = tfc.callbacks.Pruning(0.75)
        >>> pruning.set_model(model)
        >>> pruning.update(step=1)
        >>> tfc.report(model).sparsity
        0.75
    """

    def __init__(
        self,
        schedule,
        criterion="magnitude",
        pattern="weight",
        scope="local",
        data=None,
    ):
        super().__init__()
        self.schedule = Schedule.get(schedule)
        self.criterion = Criterion.get(criterion)
        self.pattern = Pattern.get(pattern)
        self.scope = Scope.get(scope)
        self.data = data
        self.sparsity = 0.0
        self._previous_step = -1
        self._batches = 0

    def set_model(self, model):
        """Finds the masks of the model."""
        super().set_model(model)
        self._masked = [
            (name, treatment, transform)
            for name, treatment in treatments(model)
            for transform in treatment.transforms
            if isinstance(transform, Mask)
        ]
        if not self._masked:
            raise ValueError(
                f"Pruning found no Mask in model {model.name!r}. Add masks first: "
                "tfc.compress(model, {'.*': tfc.transforms.Mask()})."
            )

    def on_train_begin(self, logs=None):
        """Forgets where the last training stood."""
        self._previous_step = None

    def on_epoch_begin(self, epoch, logs=None):
        """Takes up the schedule where the optimizer stands, after all restoring."""
        if self._previous_step is not None:
            return
        step = int(self.model.optimizer.iterations.numpy())
        self.sparsity = self._masked_fraction()
        # Restored masks stay; what should have been pruned before this training is.
        self._previous_step = step if step and self.sparsity else -1
        self.update(step)

    def on_train_batch_end(self, batch, logs=None):
        """Prunes if the schedule says so."""
        self._batches += 1
        # Reading the optimizer's step takes longer than knowing that nothing can be due.
        latest = self._previous_step + self._batches * self.model.steps_per_execution
        if self.schedule.due(self._previous_step, latest):
            self.update(int(self.model.optimizer.iterations.numpy()))

    def on_epoch_end(self, epoch, logs=None):
        """Logs the sparsity."""
        if logs is not None:
            logs["sparsity"] = self.sparsity

    def update(self, step):
        """Prunes if the schedule is due at `step`; for custom training loops.

        Args:
            step: optimizer iterations so far.
        """
        previous, self._previous_step, self._batches = self._previous_step, step, 0
        if self.schedule.due(previous, step):
            self.prune(self.schedule(step))

    def prune(self, sparsity):
        """Masks the model now.

        Args:
            sparsity: fraction of the masked weights to remove, in [0, 1).
        """
        layouts = [treatment.ref.layout for _, treatment, _ in self._masked]
        scores = [
            self.pattern.pool(layout.to_canonical(score))
            for layout, score in zip(layouts, self._scores(), strict=True)
        ]
        shapes = [layout.canonical_shape for layout in layouts]
        kept = self.scope(scores, shapes, sparsity)
        for (_, treatment, mask), layout, score, count in zip(
            self._masked, layouts, scores, kept, strict=True
        ):
            groups = self.pattern.select(score, count)
            value = layout.from_canonical(
                self.pattern.spread(groups, layout.canonical_shape)
            )
            mask.mask.assign(value)
            treatment.refresh(after=mask)
        self.sparsity = self._masked_fraction()

    def _masked_fraction(self):
        masks = [mask.mask.numpy() for _, _, mask in self._masked]
        kept = sum(np.count_nonzero(mask) for mask in masks)
        return float(1 - kept / sum(mask.size for mask in masks))

    def _scores(self):
        weighed = [treatment for _, treatment, _ in self._masked]
        signals = collect(self.model, weighed, self.data, self.criterion.needs)
        return [
            self.criterion.score(name, treatment.variable, gathered)
            for (name, treatment, _), gathered in zip(
                self._masked, signals, strict=True
            )
        ]
