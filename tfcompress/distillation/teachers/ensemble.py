"""Several teachers that act as one."""

import hashlib
import math

import keras
from keras import ops

from tfcompress.core.kinds import Each, Number, OneOf, PlugIn
from tfcompress.distillation.teachers.teacher import Teacher

_AVERAGES = ("probabilities", "logits")


@keras.saving.register_keras_serializable("tfcompress")
class Ensemble(Teacher):
    """Several teachers whose answers are averaged.

        probabilities: z = log Σ_i w_i softmax(z_i)        logits: z = Σ_i w_i z_i

    A single unit is a choice between two classes, so the result is its log-odds. The mean
    of logits is the geometric mean of probabilities, up to a constant; use it for
    regression.

    Args:
        teachers: list of what `Distiller` takes as a teacher: Keras models, paths, other
            ensembles.
        weights: one non-negative number per teacher, which sum to 1; equal by default.
        average: "probabilities" or "logits".

    Raises:
        ValueError: if there are no teachers, the weights are invalid, or the teachers'
            outputs differ.

    Example:
        >>> x = keras.Input((2,))
        >>> plain, halved = keras.Model(x, 1 * x), keras.Model(x, x / 2)
        >>> ensemble = Ensemble([plain, halved])
        >>> ensemble.build(np.zeros((2, 2)))
        >>> z = np.log([[16.0, 1.0]])           # (16/17, 1/17) and (4/5, 1/5)
        >>> np.exp(ensemble(z)[0]).round(3)
        array([[0.871, 0.129]], dtype=float32)

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network" (2015),
    section 2: arithmetic or geometric mean of the predictive distributions.
    """

    def __init__(
        self,
        teachers: Each(PlugIn(Teacher), "teachers, at least one", least=1),
        weights: Each(Number(0), "numbers from 0 to 1") = None,
        average: OneOf(*_AVERAGES) = "probabilities",
    ):
        self.teachers = list(teachers)
        self.weights = weights
        self.average = average
        self._weights = _checked(weights, len(teachers))

    @property
    def name(self):
        """The names of its teachers."""
        return f"ensemble of {', '.join(teacher.name for teacher in self.teachers)}"

    @property
    def variables(self):
        """The variables of its teachers."""
        return [v for teacher in self.teachers for v in teacher.variables]

    @property
    def supports_jit(self):
        """Whether XLA can compile all of its teachers."""
        return all(teacher.supports_jit for teacher in self.teachers)

    @property
    def is_open(self):
        """Whether all of its teachers may run."""
        return all(teacher.is_open for teacher in self.teachers)

    def fingerprint(self):
        """A hash of its teachers' fingerprints and the weights."""
        parts = [teacher.fingerprint() for teacher in self.teachers]
        parts += [self.average, *map(repr, self._weights)]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def build(self, inputs, outputs=None, kinds=None):
        """Builds each teacher for the student."""
        for teacher in self.teachers:
            teacher.build(inputs, outputs, kinds)
        if self.is_open:
            self._check_alike(inputs)
        self.structure = self.teachers[0].structure
        own = zip(*(teacher.kinds for teacher in self.teachers), strict=True)
        self.kinds = [self._kind_of(kinds) for kinds in own]

    def _check_alike(self, inputs):
        first, *rest = self.teachers
        wanted = [z.shape for z in first(inputs)]
        for teacher in rest:
            found = [z.shape for z in teacher(inputs)]
            if found != wanted or teacher.structure != first.structure:
                raise ValueError(
                    f"The teachers {first.name!r} and {teacher.name!r} return logits "
                    f"{first.structure} of {wanted} and {teacher.structure} of {found}: "
                    "an ensemble needs the same outputs, classes and positions."
                )

    def _kind_of(self, kinds):
        if "sigmoid" in kinds:
            return "sigmoid"
        # Averaged probabilities have lost the constant, like those of a softmax.
        averaged = self.average == "probabilities"
        return "softmax" if averaged or "softmax" in kinds else "logits"

    def run(self, inputs):
        """The averaged logits."""
        answers = [teacher.run(inputs) for teacher in self.teachers]
        logits = [t.logits(a) for t, a in zip(self.teachers, answers, strict=True)]
        mean = {"probabilities": _mean_probability, "logits": _mean}[self.average]
        averaged = [mean(parts, self._weights) for parts in zip(*logits, strict=True)]
        return keras.tree.pack_sequence_as(answers[0], averaged)

    def logits(self, outputs):
        """The outputs, which are already logits."""
        return keras.tree.flatten(outputs)


def _mean(logits, weights):
    return sum(w * z for w, z in zip(weights, logits, strict=True))


def _mean_probability(logits, weights):
    if logits[0].shape[-1] == 1:
        yes, no = (
            _log_mean([ops.log_sigmoid(sign * z) for z in logits], weights)
            for sign in (1, -1)
        )
        return yes - no
    return _log_mean([ops.log_softmax(z) for z in logits], weights)


def _log_mean(log_probabilities, weights):
    """The logarithm of Σ w p, from log p."""
    parts = zip(weights, log_probabilities, strict=True)
    stacked = ops.stack([log_p + math.log(w) for w, log_p in parts if w > 0])
    return ops.logsumexp(stacked, axis=0)


def _checked(weights, count):
    if weights is None:
        return [1.0 / count] * count
    if len(weights) != count:
        raise ValueError(
            f"weights={weights}: expected {count} numbers, one per teacher."
        )
    if not all(weight >= 0 for weight in weights) or not math.isclose(
        sum(weights), 1, rel_tol=1e-6
    ):
        raise ValueError(
            f"weights={weights} sum to {sum(weights):.6g}: expected non-negative numbers "
            "that sum to 1, the share of each teacher in the mean."
        )
    return weights
