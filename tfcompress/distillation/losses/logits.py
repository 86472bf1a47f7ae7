"""Regression on logits."""

from keras import ops

from tfcompress.core.kinds import Flag
from tfcompress.core.nouns import DistillationLoss
from tfcompress.distillation.losses.kl import two_classes


class Logits(DistillationLoss):
    """Half the squared distance between the logits.

        L = 1/2 Σ_i (s_i - t_i)²

    Divided by the number of classes, the centered form is the limit of `KL` at high
    temperatures. The other form also suits regression.

    Args:
        centered: whether the mean over the classes is subtracted first. Logits computed
            from probabilities are known only up to a constant and need this. A single
            unit is then a choice between two classes with logits `(0, s)`.

    Source: Ba and Caruana, "Do Deep Nets Really Need to be Deep?" (2014), section 2.2;
    Hinton et al., "Distilling the Knowledge in a Neural Network" (2015), section 2.1.

    Example:
        >>> student, teacher = np.array([[1.0, 2.0]]), np.array([[2.0, 5.0]])
        >>> Logits()(student, teacher).numpy()
        array([5.], dtype=float32)
        >>> Logits(centered=True)(student, teacher).numpy()
        array([1.], dtype=float32)
    """

    def __init__(self, centered: Flag() = False):
        self.centered = centered

    @property
    def reads_constant(self):
        """Whether a constant added to all logits makes a difference."""
        return not self.centered

    def __call__(self, student, teacher, labels=None, step=0):
        """The distance for each prediction."""
        gap = two_classes(student) - ops.stop_gradient(two_classes(teacher))
        if self.centered:
            gap = gap - ops.mean(gap, axis=-1, keepdims=True)
        return ops.sum(ops.square(gap), axis=-1) / 2
