"""Soft targets, with the true class separated from the others."""

from keras import ops

from tfcompress.core.kinds import Number
from tfcompress.core.nouns import DistillationLoss
from tfcompress.distillation.losses.kl import two_classes
from tfcompress.distillation.losses.labels import class_probabilities
from tfcompress.distillation.losses.temperature import TEMPERATURE, temperature_at

# Stands for minus infinity, whose differences are undefined.
_LOWEST = -1e30


class Decoupled(DistillationLoss):
    """`KL` in two parts with separate weights.

        L = T² (α KL(b_t ‖ b_s) + β KL(o_t ‖ o_s))

    where `b = (p, 1 - p)` holds the probability of the labelled class and that of all
    others together, and `o` the distribution among the others; the first part tells how
    hard the example is, the second carries most of the teacher's knowledge. `KL` is the
    special case α = 1 and β = 1 - p_t, which is small exactly where the teacher is
    confident. If labels are probabilities, the most probable class is used.

    Args:
        temperature: T, positive, or a `keras.optimizers.schedules` object, a function of
            the optimizer step.
        alpha: α, weight of the labelled class, at least 0.
        beta: β, weight of the other classes, at least 0.

    Raises:
        ValueError: if the temperature is not positive, a weight is negative, or there
            are no labels.

    Source: DKD: Zhao et al., "Decoupled Knowledge Distillation" (2022), section 3.

    Example:
        >>> student, teacher = np.zeros((1, 3)), np.log([[2.0, 1.0, 1.0]])
        >>> loss = Decoupled(temperature=1, alpha=1, beta=8)
        >>> np.round(loss(student, teacher, labels=np.array([0])), 4)
        array([0.0589], dtype=float32)
    """

    def __init__(
        self,
        temperature: TEMPERATURE = 4.0,
        alpha: Number(0) = 1.0,
        beta: Number(0) = 8.0,
    ):
        self.temperature = temperature
        self.alpha = alpha
        self.beta = beta

    def __call__(self, student, teacher, labels=None, step=0):
        """The loss of each prediction."""
        if labels is None:
            raise ValueError(
                "Decoupled separates the labelled class from the others, but there are no "
                "labels: pass them to fit, or use KL, which needs none."
            )
        temperature = temperature_at(self.temperature, step)
        teacher = ops.stop_gradient(two_classes(teacher)) / temperature
        student = two_classes(student) / temperature
        given = class_probabilities(labels, student)
        chosen = ops.one_hot(ops.argmax(given, axis=-1), given.shape[-1], dtype="bool")
        target, others = (
            divergence(part(teacher, chosen), part(student, chosen))
            for part in (_target_or_other, _among_others)
        )
        return temperature**2 * (self.alpha * target + self.beta * others)


def divergence(wanted, found):
    """KL divergence `(...)` of log-probabilities `(..., classes)`."""
    return ops.sum(ops.exp(wanted) * (wanted - found), axis=-1)


def _target_or_other(logits, chosen):
    parts = [
        ops.logsumexp(ops.where(mask, logits, _LOWEST), axis=-1)
        for mask in (chosen, ops.logical_not(chosen))
    ]
    return ops.log_softmax(ops.stack(parts, axis=-1))


def _among_others(logits, chosen):
    return ops.log_softmax(ops.where(chosen, _LOWEST, logits))
