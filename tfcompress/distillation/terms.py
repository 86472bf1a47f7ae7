"""The losses of a distiller: what each one reads, and its weight."""

import dataclasses
import math
import typing

import keras
from keras import ops

from tfcompress.core.nouns import DistillationLoss
from tfcompress.core.plugin import snake_case
from tfcompress.distillation.features import (
    composed_layers,
    find_layers,
    last_layers,
    matching_layers,
    named_layers,
)
from tfcompress.distillation.reduction import reduced


class Run(typing.NamedTuple):
    """What a model computed for a batch.

    Attributes:
        logits: list of float32 logits, one entry per output.
        features: `{id(layer): output}` of the watched layers.
    """

    logits: list
    features: dict


@dataclasses.dataclass(frozen=True)
class Term:
    """A loss with its inputs and its weight.

    Attributes:
        name: name of the metric.
        loss: the `DistillationLoss`.
        weight: factor in the sum.
        output: index of the output it reads; None if it reads only features.
        student_layers: the student's layers whose features it reads.
        teacher_layers: the teacher's layers whose features it reads.
    """

    name: str
    loss: DistillationLoss
    weight: float
    output: int | None
    student_layers: tuple
    teacher_layers: tuple

    @property
    def reads_outputs(self):
        """Whether it compares outputs, so that a model cannot teach itself with it."""
        return self.loss.student_reads == "outputs"

    def build(self, student, teacher):
        """Creates the adapters for a `Run` of the student and one of the teacher."""
        shapes = keras.tree.map_structure(
            lambda tensor: (None, *tensor.shape[1:]), self._views(student, teacher)
        )
        self.loss.build(*shapes)

    def __call__(self, student, teacher, labels, step):
        """The loss of each prediction.

        Args:
            student: its `Run`.
            teacher: its `Run`.
            labels: list with one entry per output.
            step: optimizer iterations so far.
        """
        labels = labels[self.output or 0] if self._has_labels(labels) else None
        return self.loss(*self._views(student, teacher), labels=labels, step=step)

    def _has_labels(self, labels):
        return self.output is not None or len(labels) == 1

    def reduce(self, values, outputs, sample_weights):
        """The mean over predictions, as Keras computes it for its own losses."""
        if self.output is not None:
            output = keras.tree.flatten(outputs)[self.output]
            return reduced(values, output, sample_weights[self.output])
        weight = sample_weights[0]
        if weight is not None:
            weight = ops.mean(ops.reshape(weight, (ops.shape(weight)[0], -1)), axis=-1)
        return reduced(values, values, weight)

    def _views(self, student, teacher):
        """What the loss gets from student and teacher."""
        return (
            self._view(self.loss.student_reads, self.student_layers, student),
            self._view(self.loss.teacher_reads, self.teacher_layers, teacher),
        )

    def _view(self, reads, layers, run):
        if reads == "outputs":
            return run.logits[self.output]
        return [ops.cast(run.features[id(layer)], "float32") for layer in layers]


def make_terms(student, teacher, names, kinds, losses, weights, alpha):
    """The terms of a distiller.

    Args:
        student: the student.
        teacher: its `Teacher`, or None.
        names: names of the student's outputs.
        kinds: their kinds, see `output_kinds`.
        losses: as passed by users.
        weights: as passed by users.
        alpha: as passed by users.

    Raises:
        ValueError: if they are inconsistent.
    """
    places = _places(losses, names)
    weights = _checked_weights(weights, len(places), alpha)
    terms = {}
    for (output, loss), weight in zip(places, weights, strict=True):
        reads = {loss.student_reads, loss.teacher_reads}
        outputs = [None] if reads == {"features"} else _outputs(output, names)
        for index in outputs:
            own = loss.clone()
            _check_kinds(own, teacher, kinds, index)
            name = _name(own, names, index, terms)
            layers = _layers(own, student, teacher)
            terms[name] = Term(name, own, weight, index, *layers)
    return list(terms.values())


def _places(losses, names):
    """`(output name or None, loss)` of each loss."""
    if isinstance(losses, dict) and losses and set(losses) <= set(names):
        return [(name, loss) for name, some in losses.items() for loss in _listed(some)]
    return [(None, loss) for loss in _listed(losses)]


def _listed(losses):
    listed = list(losses) if isinstance(losses, (list, tuple)) else [losses]
    if not listed:
        raise ValueError(
            "losses=[]: expected at least one distillation loss, such as 'kl'."
        )
    return [DistillationLoss.get(loss) for loss in listed]


def _outputs(output, names):
    return range(len(names)) if output is None else [names.index(output)]


def _name(loss, names, index, taken):
    name = snake_case(type(loss).__name__)
    if index is not None and len(names) > 1:
        name = f"{names[index]}_{name}"
    count = sum(other.rstrip("_0123456789") == name for other in taken)
    return f"{name}_{count + 1}" if count else name


def _checked_weights(weights, count, alpha):
    if weights is None:
        return [1.0 if alpha is None else 1.0 / count] * count
    weights = list(weights) if isinstance(weights, (list, tuple)) else [weights]
    if len(weights) != count:
        raise ValueError(f"weights={weights}: expected {count} numbers, one per loss.")
    if not any(weights):
        raise ValueError(f"weights={weights}: expected one of them above 0.")
    if alpha is not None and not math.isclose(sum(weights), 1, rel_tol=1e-6):
        raise ValueError(
            f"weights={weights} sum to {sum(weights):.6g}: with alpha={alpha}, they have "
            "to sum to 1. Omit alpha to weight the losses freely relative to the task's "
            "loss."
        )
    return weights


def _check_kinds(loss, teacher, kinds, index):
    if index is None or not loss.reads_constant:
        return
    if "softmax" in (kinds[index], teacher and teacher.kinds[index]):
        raise ValueError(
            f"{loss!r} compares numbers, but probabilities of a softmax give logits only "
            "up to a constant. Let the loss subtract the mean (centered=True), or use "
            "models without a softmax at the end."
        )


def _layers(loss, student, teacher):
    """The student's and the teacher's layers that a loss reads."""
    reads = (loss.student_reads, loss.teacher_reads)
    if "features" not in reads:
        return (), ()
    if "outputs" in reads:
        names = loss.student_layers or matching_layers(student, student)[0]
        return tuple(find_layers(student, names)), ()
    model = teacher and teacher.model
    if model is None:
        raise ValueError(
            f"{loss!r} compares inner layers, so the teacher has to be a Keras model; "
            f"got {teacher and teacher.name!r}. Losses on outputs, such as 'kl', learn "
            "from any teacher."
        )
    names = (loss.student_layers, loss.teacher_layers)
    if names == (None, None):
        names = _chosen(loss, student, model)
    else:
        # Networks of the same family often use the same layer names.
        names = (names[0] or names[1], names[1] or names[0])
    if len(names[0]) != len(names[1]):
        raise ValueError(
            f"{loss!r}: {len(names[0])} layers of the student cannot be paired with "
            f"{len(names[1])} of the teacher; name the same number of each."
        )
    return tuple(
        tuple(find_layers(model, _with_parts(loss, model, some)))
        for model, some in zip((student, model), names, strict=True)
    )


def _chosen(loss, student, teacher):
    """Names of layers of both models for a loss that names none."""
    if not loss.parts:
        choose = last_layers if loss.last_layer_only else matching_layers
        return choose(student, teacher)
    return composed_layers(student, teacher, loss.parts, loss.last_layer_only)


def _with_parts(loss, model, names):
    """The layers that a loss reads, or the names of their parts."""
    if not loss.parts:
        return names
    known = named_layers(model)
    paths = {id(layer): path for path, layer in known.items()}
    found = [paths[id(layer)] for layer in find_layers(model, names)]
    return [f"{path}/{part}" for path in found for part in loss.parts]
