"""The objective of training: the model's own loss and metrics, or inferred ones."""

import dataclasses

import keras
import numpy as np

from tfcompress.core.keras_internals import compile_arguments
from tfcompress.core.kinds import Keras
from tfcompress.distillation import KL, Logits, Taught
from tfcompress.distillation.outputs import output_kinds, output_names
from tfcompress.measuring.scores import BINARY, CLASSES, in_order, own_loss, tasks_of

_NUM_SAMPLES = 1024
_BATCH_SIZE = 64


def _losses(value):
    if any(isinstance(part, keras.Layer) for part in keras.tree.flatten(value)):
        raise TypeError("a model is not a loss")
    return keras.tree.map_structure(keras.losses.get, value)


LOSS = Keras(
    _losses, "a Keras loss or its name, or one for each output in a list or dictionary"
)


@dataclasses.dataclass(frozen=True)
class Objective:
    """The objective that the copies of a model are trained with.

    Attributes:
        arguments: `loss`, `metrics` and so on for `compile`.
        tasks: the `Task` of each output, in the order of `names`; none without targets.
        kinds: what the outputs are, see `output_kinds`.
        names: names of the outputs.
        outputs: examples of them, in the structure that the model returns.
    """

    arguments: dict
    tasks: list
    kinds: list
    names: list
    outputs: object

    def compile(self, model, optimizer):
        """Compiles a copy of the model, with its own copies of the metrics."""
        arguments = keras.tree.map_structure(_fresh, self.arguments)
        model.compile(optimizer, **arguments)

    def ordered(self, targets):
        """Targets in the structure of the outputs, however they were given."""
        if isinstance(targets, Taught):
            return Taught(self.ordered(targets.labels), targets.logits)
        if targets is None:
            return None
        return keras.tree.pack_sequence_as(self.outputs, in_order(targets, self.names))

    def soft_losses(self, temperature):
        """Distillation losses on all outputs: one, or `{output name: loss}`.

        Classes and binary answers have probabilities (`KL`). Values have none, and neither
        do several logits that are separate answers.
        """
        soft, hard = KL(temperature), Logits()
        losses = [soft if has_odds else hard for has_odds in self._have_odds()]
        if len({type(loss) for loss in losses}) == 1:
            return losses[0]
        return dict(zip(self.names, losses, strict=True))

    def _have_odds(self):
        if not self.tasks:
            return [True]
        flat = keras.tree.flatten(self.outputs)
        return [
            task.kind == CLASSES
            or (task.kind == BINARY and (kind == "sigmoid" or output.shape[-1] == 1))
            for task, kind, output in zip(self.tasks, self.kinds, flat, strict=True)
        ]


def objective(model, x, y, loss=None):
    """The `Objective` of a model.

    The loss is the first available of `loss`, the one that the model is compiled with, and
    for each output cross entropy (of class labels, one-hot labels, or zeros and ones) or
    the mean squared error, depending on its shape and the targets. If the model has no
    metrics, outputs that classify get `accuracy`.

    Args:
        model: a built Keras model.
        x: some inputs.
        y: their targets: an array, or one for each output, or `Taught`; None if there
            are none.
        loss: as in `compile`.

    Raises:
        ValueError: if the targets do not match the outputs.
    """
    y = y.labels if isinstance(y, Taught) else y
    x = keras.tree.map_structure(lambda a: a[:_NUM_SAMPLES], x)
    outputs = _outputs(model, x)
    names = output_names(model, outputs)
    kinds = output_kinds(model, outputs)
    if y is None:
        return Objective({"loss": loss}, [], kinds, names, outputs)
    targets = [target[:_NUM_SAMPLES] for target in in_order(y, names)]
    flat = keras.tree.flatten(outputs)
    named = dict(zip(names, flat, strict=True))
    tasks = tasks_of(model, named, targets, loss)
    arguments = {"loss": loss} if loss else _own_arguments(model)
    if not arguments:
        losses = list(map(_loss, tasks, kinds, flat, targets))
        arguments = {"loss": _like(outputs, names, losses)}
    # A loss that is passed for this training only does not tell which metric fits.
    if loss is None and not arguments.get("metrics"):
        metrics = list(map(_metrics, tasks, flat, targets))
        arguments["metrics"] = _like(outputs, names, metrics)
    return Objective(arguments, tasks, kinds, names, outputs)


def _outputs(model, x):
    """Outputs as arrays, in batches, since not all may fit into memory at once."""
    starts = range(0, len(keras.tree.flatten(x)[0]), _BATCH_SIZE)
    batches = [
        keras.tree.map_structure(
            lambda a, i=i: keras.ops.convert_to_tensor(a[i : i + _BATCH_SIZE]), x
        )
        for i in starts
    ]
    return keras.tree.map_structure(
        lambda *parts: np.concatenate(parts),
        *(
            keras.tree.map_structure(np.asarray, model(batch, training=False))
            for batch in batches
        ),
    )


def _own_arguments(model):
    if own_loss(model) is None:
        return {}
    given = compile_arguments(model)
    kept = ("loss", "loss_weights", "metrics", "weighted_metrics")
    return {name: given[name] for name in kept if given.get(name)}


def _loss(task, kind, output, target):
    if task.kind == CLASSES:
        return _of_classes(
            keras.losses.CategoricalCrossentropy,
            keras.losses.SparseCategoricalCrossentropy,
            output,
            target,
        )(from_logits=kind == "logits")
    if task.kind == BINARY:
        return keras.losses.BinaryCrossentropy(from_logits=task.threshold == 0)
    return keras.losses.MeanSquaredError()


def _metrics(task, output, target):
    if task.kind == CLASSES:
        metric = _of_classes(
            keras.metrics.CategoricalAccuracy,
            keras.metrics.SparseCategoricalAccuracy,
            output,
            target,
        )
        return [metric(name="accuracy")]
    if task.kind == BINARY:
        return [keras.metrics.BinaryAccuracy("accuracy", threshold=task.threshold)]
    return []


def _of_classes(one_hot, sparse, output, target):
    return one_hot if target.shape == output.shape else sparse


def _like(outputs, names, values):
    """A value for each output, in the structure that `compile` takes."""
    if isinstance(outputs, dict):
        return dict(zip(names, values, strict=True))
    return values if len(values) > 1 else values[0]


def _fresh(value):
    """A metric with its own state, since a model keeps those it is compiled with."""
    if isinstance(value, keras.metrics.Metric):
        return type(value).from_config(value.get_config())
    return value
