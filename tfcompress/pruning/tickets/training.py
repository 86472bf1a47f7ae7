"""Runs and monitors the user's training function."""

import dataclasses
import inspect
import time

import keras
import numpy as np

from tfcompress.core.keras_internals import compile_arguments
from tfcompress.core.optimizers import steps_done
from tfcompress.pruning.tickets.state import masks_of, snapshot


@dataclasses.dataclass(frozen=True)
class Training:
    """How models are trained and evaluated.

    Attributes:
        train: `train(model, callbacks)`.
        evaluate: `evaluate(model) -> number`, or None.
        seed: seed of the random state before each training.
    """

    train: object
    evaluate: object = None
    seed: int = 0

    def seed_round(self, number):
        """Sets the random state at the start of a round or of its controls."""
        keras.utils.set_random_seed(self.seed + number)

    def run(self, model, train=None, callbacks=(), watch=None, **options):
        """Trains a masked model; returns its log.

        Args:
            model: a model with masks.
            train: another function in place of `train`.
            callbacks: further callbacks, which may change masks.
            watch: the `Watch` of the model, to monitor the training.
            options: further arguments, which the function gets if it has such parameters.

        Raises:
            ValueError: if the function trains another model, does not use the callbacks
                or changes masks.
        """
        watch = watch or Watch(model)
        train = train or self.train
        before, masks = snapshot(model), masks_of(model)
        start = time.perf_counter()
        train(model, [watch, *callbacks], **_taken(train, options))
        seconds = time.perf_counter() - start
        _check_trained(model, watch, before)
        if not callbacks:
            _check_masks(model, masks)
        return {**watch.log(), "seconds": seconds, "score": self.score(model)}

    def score(self, model):
        """The result of the user's function for a model, None without one."""
        return None if self.evaluate is None else float(self.evaluate(model))


class Watch(keras.callbacks.Callback):
    """Counts steps, records when the validation loss was lowest, and stores values.

    Args:
        watched: the masked model; `fit` may be called on another model that contains it.
        keep_step: step whose values are stored as `values`; None for none.
    """

    def __init__(self, watched, keep_step=None):
        super().__init__()
        self.watched = watched
        self.keep_step = keep_step
        self.values = None
        self.steps = 0
        self.early_stop_step = None
        self.metrics = {}
        self._lowest = np.inf

    def on_train_begin(self, logs=None):
        """Resumes counting: a training may consist of several calls of `fit`."""
        self._first = self._steps_done() - self.steps

    def on_train_batch_end(self, batch, logs=None):
        """Stores the values at the given step."""
        if self.keep_step is None or self.values is not None:
            return
        step = self._steps_done() - self._first
        if step >= self.keep_step:
            self._check_met(step)
            self.values = snapshot(self.watched)

    def on_epoch_end(self, epoch, logs=None):
        """Records the progress of training."""
        self.steps = self._steps_done() - self._first
        self.metrics = {name: float(value) for name, value in (logs or {}).items()}
        loss = self.metrics.get("val_loss", np.inf)
        if loss < self._lowest:
            self._lowest, self.early_stop_step = loss, self.steps

    def log(self):
        """The recorded log."""
        return {
            "steps": self.steps,
            "early_stop_step": self.early_stop_step,
            "metrics": self.metrics,
        }

    def _check_met(self, step):
        if step > self.keep_step:
            raise ValueError(
                f"find_ticket(rewind): got {self.keep_step}, expected a step after which "
                f"callbacks run; they run after step {step}. Choose a multiple of "
                "steps_per_execution."
            )

    def _steps_done(self):
        return steps_done(self.model, self.watched.trainable_variables)


def compile_like(model, trained):
    """Compiles a model like another one, for evaluation."""
    if not trained.compiled:
        return
    names = ("loss", "loss_weights", "metrics", "weighted_metrics")
    arguments = compile_arguments(trained)
    model.compile(**{name: arguments.get(name) for name in names})


def takes(function, name):
    """Whether a function has a parameter."""
    parameters = inspect.signature(function).parameters.values()
    return any(p.name == name or p.kind is p.VAR_KEYWORD for p in parameters)


def _taken(function, options):
    return {name: value for name, value in options.items() if takes(function, name)}


def _check_trained(model, watch, before):
    if not watch.steps:
        raise ValueError(
            "find_ticket(train): train(model, callbacks) did not run the callbacks that "
            "it was given. Pass them on: model.fit(..., callbacks=callbacks); in a custom "
            "loop, use keras.callbacks.CallbackList(callbacks, model=model)."
        )
    after = snapshot(model)
    trained = [path for path in before if not path.startswith("state/")]
    if all(np.array_equal(before[path], after[path]) for path in trained):
        raise ValueError(
            "find_ticket(train): train(model, callbacks) left all weights unchanged; "
            "expected a function that compiles and fits the model that it is given. "
            "Are its layers frozen, or is another model trained?"
        )


def _check_masks(model, before):
    after = masks_of(model)
    changed = [path for path in before if not np.array_equal(before[path], after[path])]
    if changed:
        raise ValueError(
            f"find_ticket(train): train(model, callbacks) changed the masks of {changed}, "
            "expected a function that does not. To prune while training, pass a "
            "schedule as sparsity instead of a callback."
        )
