"""Transforms that change during training, and the callback that controls them."""

import functools

import keras

from tfcompress.core.compressed import treatments
from tfcompress.core.errors import refuse
from tfcompress.core.kinds import Integer, checked
from tfcompress.core.nouns import WeightTransform
from tfcompress.core.optimizers import StepCount, steps_done

# Updates per training by default: choosing masks takes time.
_UPDATES = 1000
# The progress at which sparsities are reached, so that remaining weights can recover.
_REACHED = 2 / 3


def ramp(progress, power=1):
    """The fraction of a sparsity that is reached; it is 1 from a progress of 2/3 on.

    >>> [round(ramp(p, power=3), 3) for p in (0, 1 / 3, 2 / 3, 1)]
    [0.0, 0.875, 1.0, 1.0]
    """
    return 1 - (1 - min(1.0, progress / _REACHED)) ** power


class Annealed(WeightTransform):
    """A transform that depends on the progress of training.

    Its formula contains the progress `p`, from 0 to 1, which determines how sparse or
    how hard it is. `p` is a variable of the layer: a compiled training step sees it
    change, and files contain it. `tfc.callbacks.Annealing` updates it; without that it
    stays 0.

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
        """Sets the progress.

        Args:
            progress: from 0 to 1.
            weight: function without arguments that returns the values this transform
                receives, a NumPy array.
        """
        self.progress.assign(progress)


class Annealing(keras.callbacks.Callback):
    """Advances transforms that change while a model trains, from start to finish.

    These are `ContinuousSparsification`, `EdgePopup`, `Movement`, `PDP`,
    `ShiftAttention`, `SoftMovement` and all others that are `Annealed`. Their progress is

        p = clip((t - begin_step) / (end_step - begin_step), 0, 1)

    at optimizer iteration `t`; each transform documents what it means, and how early
    the final sparsity is reached. At `p = 1` they are hard: they return exactly what is
    stripped and exported, and the rest of the training trains the remaining weights.
    The progress is logged as `progress`.

    If training ends before `end_step`, through `EarlyStopping` or because it is only
    the first of several runs, they stay unfinished, and `tfc.strip` warns about it.

    Args:
        begin_step: optimizer iteration at which they start; None: where this training
            began, however often it was resumed.
        end_step: optimizer iteration at which they are finished; None: the end of this
            training.
        frequency: optimizer iterations between updates of the progress, at which masks
            are chosen again; None: a thousandth of the total. Choosing large masks
            takes as long as a training step.

    Raises:
        ValueError: if `end_step` is not after `begin_step`, if the length of the
            training is unknown and no `end_step` is given, or if the model has no such
            transform.

    Source: Savarese et al., "Winning the Lottery with Continuous Sparsification" (2020),
    section 4, for a mask that hardens on a schedule.

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
        """Finds the transforms to advance."""
        super().set_model(model)
        self._annealed = [
            (treatment, transform)
            for _, treatment in treatments(model)
            for transform in treatment.transforms
            if isinstance(transform, Annealed)
        ]
        if not self._annealed:
            raise ValueError(
                f"Annealing found no transforms to anneal in model {model.name!r}. Add "
                "some first: tfc.compress(model, {'.*': "
                "'continuous_sparsification'})."
            )
        self._from, self._to = self.begin_step or 0, self.end_step
        self._progress, self._count = None, StepCount()

    def on_train_begin(self, logs=None):
        """Discards the step of the previous training."""
        self._progress = None

    def on_epoch_begin(self, epoch, logs=None):
        """Resumes the progress at the optimizer's step, once all state is restored."""
        if self._progress is not None:
            return
        step = self._steps_done()
        steps_per_epoch = self.params.get("steps")
        if steps_per_epoch is None and self.end_step is None:
            raise ValueError(
                "Annealing does not know how long the training is, since the number of "
                "batches in the data is unknown. Pass Annealing(end_step=...), or "
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
        """Advances the progress."""
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
        """Advances the transforms to `step`; for custom training loops.

        These must pass `end_step` to the constructor.

        Args:
            step: the number of optimizer iterations so far.
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
