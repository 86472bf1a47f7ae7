"""Transforms that change as a training goes on, and the callback that leads them."""

import functools

import keras

from tfcompress.core.compressed import treatments
from tfcompress.core.errors import refuse
from tfcompress.core.kinds import Integer, checked
from tfcompress.core.nouns import WeightTransform
from tfcompress.core.optimizers import StepCount, steps_done

# In a training, if nothing else is asked for: choosing masks takes time.
_UPDATES = 1000
# The progress by which sparsities are reached, so that the weights that stay recover.
_REACHED = 2 / 3


def ramp(progress, power=1):
    """How much of a sparsity is reached, from 0 to 1, which it is at two thirds.

    >>> [round(ramp(p, power=3), 3) for p in (0, 1 / 3, 2 / 3, 1)]
    [0.0, 0.875, 1.0, 1.0]
    """
    return 1 - (1 - min(1.0, progress / _REACHED)) ** power


class Annealed(WeightTransform):
    """A transform that depends on how far the training is.

    Its formula has the progress `p`, from 0 to 1, and says how sparse or how hard it is
    there. `p` is a variable of the layer: a compiled training step sees it change, and
    files hold it. `tfc.callbacks.Annealing` moves it; without that it stays 0.

    Attributes:
        progress: variable `p`.
    """

    def build(self, layer, weight, layout):
        """Creates the progress."""
        self.progress = layer.add_weight(
            name=f"{weight.name}_progress",
            shape=(),
            dtype=weight.dtype,
            initializer="zeros",
            trainable=False,
        )

    @property
    def is_finished(self):
        """Whether the progress is 1."""
        return bool(self.progress.numpy() >= 1)

    def advance(self, progress, weight):
        """Goes to a progress.

        Args:
            progress: from 0 to 1.
            weight: function without arguments that gives the values that this transform
                receives, a NumPy array.
        """
        self.progress.assign(progress)


class Annealing(keras.callbacks.Callback):
    """Leads transforms that change while a model trains from their beginning to their end.

    These are `ContinuousSparsification`, `EdgePopup`, `Movement`, `PDP`,
    `ShiftAttention`, `SoftMovement` and all others that are `Annealed`. Their progress is

        p = clip((t - begin_step) / (end_step - begin_step), 0, 1)

    at optimizer iteration `t`; what it means, and how early they are as sparse as they
    should be, is said by each of them. At `p = 1` they are hard: they give exactly what
    is stripped and exported, and what is left of the training trains the weights that
    stayed. The progress is logged as `progress`.

    A training that ends before `end_step`, by `EarlyStopping` or because it is only the
    first of several, leaves them where they are, and `tfc.strip` says so.

    Args:
        begin_step: optimizer iterations before they begin; None: where this training
            began, however often it was resumed.
        end_step: at which they are done; None: the end of this training.
        frequency: optimizer iterations between two steps of progress, at which masks are
            chosen anew; None: a thousandth of the way. Large masks take as long to choose
            as a step of the training.

    Raises:
        ValueError: if `end_step` is not after `begin_step`, the length of the training is
            not known and no `end_step` is given, or the model has no such transform.

    Source: Savarese et al., "Winning the Lottery with Continuous Sparsification" (2020),
    section 4, for a mask that hardens by a schedule.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model = tfc.compress(model, {".*": tfc.transforms.Movement(0.75)})
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((8, 8)), np.ones((8, 4))
        >>> annealing = tfc.callbacks.Annealing()
        >>> log = model.fit(x, y, batch_size=1, verbose=0, callbacks=[annealing])
        >>> log.history["progress"], tfc.report(model).sparsity
        ([1.0], 0.75)
    """

    @checked
    def __init__(
        self,
        begin_step: Integer(0) = None,
        end_step: Integer(1) = None,
        frequency: Integer(1) = None,
    ):
        super().__init__()
        if None not in (begin_step, end_step) and end_step <= begin_step:
            refuse(
                "Annealing(end_step)",
                end_step,
                f"a step after begin_step={begin_step}",
                "Steps are optimizer iterations: epochs * batches per epoch.",
            )
        self.begin_step = begin_step
        self.end_step = end_step
        self.frequency = frequency

    def set_model(self, model):
        """Finds what changes."""
        super().set_model(model)
        self._annealed = [
            (treatment, transform)
            for _, treatment in treatments(model)
            for transform in treatment.transforms
            if isinstance(transform, Annealed)
        ]
        if not self._annealed:
            raise ValueError(
                f"Annealing found nothing that changes in model {model.name!r}. Add "
                "such transforms first: tfc.compress(model, {'.*': "
                "'continuous_sparsification'})."
            )
        self._from, self._to = self.begin_step or 0, self.end_step
        self._progress, self._count = None, StepCount()

    def on_train_begin(self, logs=None):
        """Forgets where the last training stood."""
        self._progress = None

    def on_epoch_begin(self, epoch, logs=None):
        """Takes up the progress where the optimizer stands, after all restoring."""
        if self._progress is not None:
            return
        step = self._steps_done()
        steps_per_epoch = self.params.get("steps")
        if steps_per_epoch is None and self.end_step is None:
            raise ValueError(
                "Annealing does not know how long the training is, since the data do not "
                "say how many batches they are. Give Annealing(end_step=...), or "
                "fit(..., steps_per_epoch=...)."
            )
        steps_per_epoch = steps_per_epoch or 0
        self._from, self._to = self.begin_step, self.end_step
        if self._from is None:
            self._from = max(0, step - epoch * steps_per_epoch)
        if self._to is None:
            self._to = step + (self.params["epochs"] - epoch) * steps_per_epoch
        self.update(step)
        self._count.begin(step)

    def on_train_batch_end(self, batch, logs=None):
        """Goes on."""
        if self._is_due(self._count.add_batch(self.model)):
            self._count.begin(self._steps_done())
            self.update(self._count.read)

    def on_epoch_end(self, epoch, logs=None):
        """Logs the progress."""
        if logs is not None:
            logs["progress"] = self._progress

    def _steps_done(self):
        return steps_done(self.model, self.model.trainable_variables)

    def _is_due(self, step):
        progress = self._progress_at(step)
        frequency = self.frequency or (self._to - self._from) / _UPDATES
        is_time = progress == 1 or step - self._count.read >= frequency
        return progress != self._progress and is_time

    def _progress_at(self, step):
        length = max(1, self._to - self._from)
        return min(1.0, max(0.0, (step - self._from) / length))

    def update(self, step):
        """Goes to where the transforms are at `step`; for custom training loops.

        These must give `end_step`.

        Args:
            step: optimizer iterations so far.
        """
        if self._to is None:
            raise ValueError("Annealing.update(step) needs Annealing(end_step=...).")
        progress = self._progress_at(step)
        if progress == self._progress:
            return
        self._progress = progress
        for treatment, transform in self._annealed:
            transform.advance(progress, functools.partial(treatment.bake, transform))
            if progress == 1:
                treatment.refresh(after=transform)
