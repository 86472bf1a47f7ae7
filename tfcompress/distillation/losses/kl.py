"""Soft targets."""

from keras import ops

from tfcompress.core.nouns import DistillationLoss
from tfcompress.distillation.losses.temperature import TEMPERATURE, temperature_at


class KL(DistillationLoss):
    """KL divergence of the student's softened probabilities from the teacher's.

        L = T² Σ_i p_i (log p_i - log q_i),  p = softmax(t / T),  q = softmax(s / T)

    with the logits `s` of the student and `t` of the teacher. The gradient is `T (q - p)`,
    which tends to `(s - t) / classes` (after subtracting the means) at high temperatures:
    the factor T² keeps its size comparable to that of a loss on labels. Cross entropy with
    `p` has the same gradient. A single unit is a choice between two classes with logits
    `(0, s)`.

    Args:
        temperature: T, positive, or a `keras.optimizers.schedules` object, a function of
            the optimizer step.

    Raises:
        ValueError: if the temperature is not positive.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network" (2015),
    section 2.

    Example:
        >>> student, teacher = np.array([[0.0, 0.0]]), np.array([[np.log(3.0), 0.0]])
        >>> np.round(KL(temperature=1)(student, teacher), 4)
        array([0.1308], dtype=float32)
    """

    def __init__(self, temperature: TEMPERATURE = 4.0):
        self.temperature = temperature

    def __call__(self, student, teacher, labels=None, step=0):
        """The divergence of each prediction."""
        temperature = temperature_at(self.temperature, step)
        student, teacher = (two_classes(z) / temperature for z in (student, teacher))
        teacher = ops.stop_gradient(teacher)
        wanted = ops.softmax(teacher)
        excess = ops.log_softmax(teacher) - ops.log_softmax(student)
        return temperature**2 * ops.sum(wanted * excess, axis=-1)


def two_classes(logits):
    """Logits of at least two classes: a single one is compared with zero.

    >>> two_classes(np.array([[3.0]], "float32")).numpy()
    array([[0., 3.]], dtype=float32)
    """
    logits = ops.convert_to_tensor(logits, "float32")
    if logits.shape[-1] > 1:
        return logits
    return ops.concatenate([ops.zeros_like(logits), logits], axis=-1)
