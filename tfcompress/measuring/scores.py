"""Scores the outputs of a model, according to the loss it was trained with."""

import dataclasses

import keras
import numpy as np

from tfcompress.core.keras_internals import compile_arguments

CLASSES, BINARY, VALUES = "classes", "binary", "values"
# Parts of the names of losses on values.
_ERRORS = ("square", "absolute", "huber", "logcosh")


@dataclasses.dataclass(frozen=True)
class Task:
    """The task of an output.

    Attributes:
        kind: `"classes"`: the largest entry of the last axis is the class, also at each
            position of a segmentation; `"binary"`: each entry means yes or no; `"values"`.
        threshold: value from which a binary entry means yes.
    """

    kind: str
    threshold: float = 0.5

    @property
    def classifies(self):
        """Whether scores are fractions of correct answers."""
        return self.kind != VALUES

    def decided(self, outputs):
        """Classes, or yes and no; values are returned unchanged."""
        if self.kind == CLASSES:
            return outputs.argmax(axis=-1)
        return outputs > self.threshold if self.kind == BINARY else outputs

    def score(self, outputs, targets):
        """The fraction of correct answers, or minus the mean squared error.

        Args:
            outputs: array `(samples, ..., entries)`.
            targets: class labels, one-hot labels, zeros and ones, or values.

        >>> outputs, labels = np.array([[0.9], [0.2]]), np.array([1, 1])
        >>> Task(BINARY).score(outputs, labels)
        0.5
        """
        if self.kind == VALUES:
            error = outputs - np.reshape(targets, outputs.shape)
            return -float(np.mean(np.square(error)))
        found = self.decided(outputs)
        if self.kind == CLASSES and np.shape(targets) == outputs.shape:
            targets = np.argmax(targets, axis=-1)
        wanted = np.reshape(targets, found.shape)
        wanted = wanted > 0.5 if self.kind == BINARY else wanted
        return float(np.mean(found == wanted))

    def agreement(self, outputs, others):
        """The fraction of equal answers, or the mean absolute difference."""
        if self.classifies:
            return float(np.mean(self.decided(outputs) == self.decided(others)))
        return float(np.mean(np.abs(outputs - others)))


def tasks_of(model, outputs, targets=None, loss=None):
    """The `Task` of each output.

    It is determined by the loss with which the model was compiled; without a known loss, by
    the shapes and values of outputs and targets.

    Args:
        model: a Keras model, or None.
        outputs: `{name: array}`, some outputs.
        targets: list of arrays, the expected outputs; None if unknown.
        loss: as in `compile`, if it is not the model's own.
    """
    losses = _losses(loss or own_loss(model), list(outputs))
    targets = [None] * len(outputs) if targets is None else targets
    return [
        _by_loss(loss) or _by_values(output, target)
        for loss, output, target in zip(losses, outputs.values(), targets, strict=True)
    ]


def score(tasks, outputs, targets):
    """The mean score of all outputs; minus infinity if an output is not finite."""
    if not all(np.isfinite(output).all() for output in outputs):
        return -float("inf")
    parts = [
        task.score(output, target)
        for task, output, target in zip(tasks, outputs, targets, strict=True)
    ]
    return float(np.mean(parts))


def agreement(tasks, outputs, others):
    """The mean agreement of all outputs."""
    parts = [
        task.agreement(output, other)
        for task, output, other in zip(tasks, outputs, others, strict=True)
    ]
    return float(np.mean(parts))


def in_order(values, names):
    """Outputs or targets in any structure, as a list of arrays.

    Args:
        values: an array, a list of arrays for several outputs, or `{name: array}`.
        names: names of the outputs, in order.

    Raises:
        ValueError: if names or number of arrays differ.

    >>> [a.tolist() for a in in_order({"b": [1, 2], "a": np.zeros(1)}, ["a", "b"])]
    [[0.0], [1, 2]]
    """
    if isinstance(values, dict) and set(values) == set(names):
        values = [values[name] for name in names]
    elif isinstance(values, dict):
        if not set(values).isdisjoint(names):
            raise ValueError(
                f"The outputs are {list(names)}, but there are arrays for {list(values)}."
            )
        # Names in files may differ from those of their models.
        values = list(values.values())
    elif len(names) == 1:
        values = [values]
    if len(values) != len(names):
        raise ValueError(
            f"The outputs are {list(names)}, but there are {len(values)} arrays for them."
        )
    return [np.asarray(value) for value in values]


def own_loss(model):
    """The loss passed to a model's `compile`, or None.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> model.compile(loss="mse")
    >>> own_loss(model)
    'mse'
    """
    is_compiled = getattr(model, "compiled", False)
    return compile_arguments(model)["loss"] if is_compiled else None


def _losses(given, names):
    """The loss of each output, or None."""
    if isinstance(given, dict):
        return [given.get(name) for name in names]
    if isinstance(given, (list, tuple)):
        return given if len(given) == len(names) else [None] * len(names)
    return [given] * len(names)


def _by_loss(loss):
    if isinstance(loss, str):
        # "mse" is an abbreviation.
        loss = keras.losses.get(loss)
    name = getattr(loss, "__name__", None) or type(loss).__name__
    name = name.replace("_", "").lower()
    if "binary" in name:
        return Task(BINARY, 0.0 if getattr(loss, "from_logits", False) else 0.5)
    if "categorical" in name:
        return Task(CLASSES)
    is_known = hasattr(keras.losses, getattr(loss, "__name__", type(loss).__name__))
    return Task(VALUES) if is_known and any(map(name.__contains__, _ERRORS)) else None


def _by_values(output, target):
    has_classes = output.ndim > 1 and output.shape[-1] > 1
    if target is None:
        return Task(CLASSES if has_classes and output.ndim == 2 else VALUES)
    places = output.shape[:-1]
    are_labels = target.shape in (places, (*places, 1)) and _is_whole(target)
    if has_classes and are_labels:
        return Task(CLASSES)
    is_yes_or_no = bool(np.isin(target, (0, 1)).all())
    if has_classes and target.shape == output.shape and is_yes_or_no:
        return Task(CLASSES) if (target.sum(axis=-1) == 1).all() else _binary(output)
    if is_yes_or_no and target.size == output.size:
        return _binary(output)
    return Task(VALUES)


def _is_whole(target):
    """Whether numbers may be labels, since files often hold labels as floats."""
    return target.dtype.kind in "iub" or bool((target == np.round(target)).all())


def _binary(output):
    is_share = output.min() >= 0 and output.max() <= 1
    return Task(BINARY, 0.5 if is_share else 0.0)
