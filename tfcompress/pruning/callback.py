"""Magnitude pruning and related methods as a Keras callback."""

import keras
import numpy as np

from tfcompress.core import nouns
from tfcompress.core.data import Batches
from tfcompress.core.kinds import Converted, PlugIn, checked
from tfcompress.core.nouns import Criterion, Schedule, Scope
from tfcompress.core.optimizers import StepCount, steps_done
from tfcompress.core.replicas import check_same_step
from tfcompress.core.rules import Rules
from tfcompress.pruning.prune import (
    NUM_KEPT,
    Engine,
    by_count,
    by_rule,
    needed_masks,
)
from tfcompress.schedules import Scaled

# Weights recover for 1 / 3 of the training that remains after the last pruning.
_RECOVERY = 3


SCHEDULES = Converted(
    lambda value: _schedules(value), "a schedule or {pattern: schedule}"
)


class Pruning(keras.callbacks.Callback):
    """Updates the masks of a model while it trains.

    Whenever the schedule is due, the weights with the lowest scores are masked: exactly
    as many as the schedule's sparsity requires, chosen by `criterion` among the groups
    of `pattern`, and distributed among the weights by `scope`. Weights are scored
    before their mask is applied, so that a masked weight can return later.

    Steps are optimizer iterations: `steps_per_execution`, resumed training and custom
    loops (call `update(step)` yourself) all keep their place in the schedule. Masks are
    variables of the model and are saved with it. If training starts with fewer zeros
    than the schedule requires at that step, for example after training to a lower
    sparsity or after restoring weights, the model is pruned at once to catch up.

    Workers that train together (`tf.distribute.MultiWorkerMirroredStrategy`) have the
    same masks, chosen by the first worker.

    Transforms after a mask that share values or have very few (`Codebook`, `Binary`,
    `Ternary`, `TrainedTernary`, grids of 2 or 3 bits) wait until the schedule is over
    and the model has recovered from the last pruning for a third of the remaining
    training; a single training then does as well as one for the masks and another for
    the values. If the length of the training is unknown, they wait for the end of the
    schedule; at the end of training they start in any case. `tfc.callbacks.Staging`
    takes precedence over this.

    Args:
        schedule: a `tfc.schedules` object, or a number for a constant sparsity; or
            `{pattern: schedule}` with patterns as in `tfc.compress`. Each pattern's
            sparsity is distributed among the weights that it covers; masks of other
            weights are left unchanged.
        criterion: a `tfc.criteria` object or name.
        pattern: a `tfc.patterns` object or name.
        scope: a `tfc.scopes` object or name.
        data: batches over which criteria that need signals collect them; each of
            several workers may pass its own, and all of them count.
        num_kept: the number of weights that stay in the end, or `{pattern: count}`; the
            schedule is scaled to end there. Exact as in `tfc.prune`.

    Raises:
        ValueError: if the model has no `Mask` transform, a pattern matches no masked
            weight, weights are not finite, or workers resume from different steps; if
            `num_kept` exceeds the number of weights, or is combined with schedules for
            patterns or with one that ends at 0.

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

    @checked
    def __init__(
        self,
        schedule: SCHEDULES,
        criterion: PlugIn(Criterion) = "magnitude",
        pattern: PlugIn(nouns.Pattern) = "weight",
        scope: PlugIn(Scope) = "local",
        data: Batches() = None,
        num_kept: NUM_KEPT = None,
    ):
        super().__init__()
        self.schedule = schedule
        self.num_kept = num_kept
        self.engine = Engine(criterion, pattern, scope)
        self.data = data
        self.sparsity = 0.0
        self._count = StepCount()
        self._count.begin(-1)

    @property
    def criterion(self):
        """The criterion that scores weights."""
        return self.engine.criterion

    @property
    def pattern(self):
        """Which weights are pruned together."""
        return self.engine.pattern

    @property
    def scope(self):
        """How the sparsity is distributed."""
        return self.engine.scope

    def set_model(self, model):
        """Finds the masks of the model."""
        super().set_model(model)
        self._masked = needed_masks(model, "Pruning")
        self._members, self._parts = self._find_parts()
        self._find_stages()

    def _find_parts(self):
        """The masked weights, and `[(schedule, members)]`."""
        if self.num_kept is None:
            return self._masked, by_rule(self.schedule, self._masked)
        if isinstance(self.schedule, dict) or not self.schedule.final_value:
            raise ValueError(
                f"Pruning(num_kept={self.num_kept}) got schedule={self.schedule}, expected "
                "a single schedule for all weights that ends above 0, to be scaled."
            )
        parts = by_count("Pruning", self.num_kept, self._masked)
        return self._masked, [
            (Scaled(self.schedule, sparsity / self.schedule.final_value), part)
            for sparsity, part in parts
        ]

    def on_train_begin(self, logs=None):
        """Discards the step of the previous training."""
        self._count.begin(None)

    def on_epoch_begin(self, epoch, logs=None):
        """Resumes the schedule at the optimizer's step, once all state is restored."""
        if self._count.read is not None:
            return
        step = self._steps_done()
        check_same_step(self.model.distribute_strategy, step)
        self._count.begin(step)
        self.sparsity = self._masked_fraction()
        self._find_stages(step + self._steps_to_come(epoch))
        self._stage(step)
        asked = [
            (schedule(schedule.last_due(step)), members)
            for schedule, members in self._parts
        ]
        # Restored masks stay if they agree with the schedule.
        if overdue := [part for part in asked if self._is_behind(*part)]:
            self._prune(overdue)

    def _steps_done(self):
        trained = [weight.treatment.variable for weight in self._masked]
        return steps_done(self.model, trained)

    def _steps_to_come(self, epoch):
        """Optimizer iterations of this training, 0 if unknown."""
        steps_per_epoch = self.params.get("steps") or 0
        return (self.params.get("epochs", epoch) - epoch) * steps_per_epoch

    def _is_behind(self, sparsity, members):
        masked = self._fraction(members)
        return sparsity > (masked + self._tolerance(members) if masked else 0)

    def on_train_batch_end(self, batch, logs=None):
        """Prunes if the schedule is due."""
        if self._is_due(self._count.read, self._count.add_batch(self.model)):
            self.update(self._steps_done())

    def _is_due(self, previous, step):
        return any(s.due(previous, step) for s, _ in self._parts) or any(
            previous < begin_step <= step for begin_step, _ in self._stages
        )

    def on_epoch_end(self, epoch, logs=None):
        """Logs the sparsity."""
        if logs is not None:
            logs["sparsity"] = self.sparsity

    def on_train_end(self, logs=None):
        """Starts transforms that are still waiting."""
        for _, treatments in self._stages:
            for treatment in treatments:
                treatment.begin()

    def update(self, step):
        """Prunes if the schedule is due at `step`; for custom training loops.

        Args:
            step: the number of optimizer iterations so far.
        """
        previous = self._count.read
        self._count.begin(step)
        due = [
            (schedule(step), members)
            for schedule, members in self._parts
            if schedule.due(previous, step)
        ]
        if due:
            self._prune(due)
        self._stage(step)

    def _find_stages(self, last_step=0):
        """When transforms that wait for masks start: `[(step, treatments)]`."""
        self._stages = []
        for schedule, members in self._parts:
            treatments = [
                treatment
                for treatment in (w.treatment for w in self._weights_of(members))
                if treatment.waiting is not None and not treatment.is_staged
            ]
            end_step = schedule.last_step
            if not treatments or end_step is None:
                continue
            recovery = max(0, last_step - end_step) // _RECOVERY
            self._stages.append((end_step + recovery, treatments))

    def _stage(self, step):
        for begin_step, treatments in self._stages:
            for treatment in treatments:
                if step < begin_step:
                    treatment.hold()
                else:
                    treatment.begin()

    def prune(self, sparsity):
        """Masks the model now.

        Args:
            sparsity: fraction of the masked weights to remove, in [0, 1).
        """
        self._prune([(sparsity, members) for _, members in self._parts])

    def _prune(self, parts):
        """Masks members of the model, given as `[(sparsity, members)]`."""
        self.engine.prune(self.model, parts, self.data)
        self.sparsity = self._masked_fraction()

    def _weights_of(self, members):
        return members

    def _masked_fraction(self):
        return self._fraction(self._members)

    def _fraction(self, members):
        """The masked fraction of some members."""
        masks = [weight.kept() for weight in members]
        kept = sum(np.count_nonzero(mask) for mask in masks)
        return float(1 - kept / sum(mask.size for mask in masks))

    def _tolerance(self, members):
        """The fraction of some members that may stay beyond the schedule."""
        sizes = [
            (np.prod(shape), self.pattern.pool(np.zeros(shape, bool)).size)
            for shape in (weight.layout.canonical_shape for weight in members)
        ]
        total = sum(size for size, _ in sizes)
        return sum(size / count for size, count in sizes) / total


def _schedules(value):
    """A `Schedule`, or `{pattern: Schedule}`; a name with arguments is not a pattern."""
    is_rules = isinstance(value, dict) and not (
        "class_name" in value
        or (
            (len(value) == 1 and isinstance(next(iter(value.values())), dict))
            and next(iter(value)) in Schedule.registered
        )
    )
    if not is_rules:
        return Schedule.get(value)
    rules = Rules(PlugIn(Schedule), "schedule", "{'dense.*': 0.9}")
    return rules.check("schedule", value)
