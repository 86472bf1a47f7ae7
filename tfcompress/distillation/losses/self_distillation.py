"""A model that teaches itself."""

from keras import ops

from tfcompress.core.kinds import Number
from tfcompress.distillation.losses.feature_loss import (
    LAYERS,
    FeatureLoss,
    as_features,
    channel_means,
    linear_map,
)
from tfcompress.distillation.losses.kl import KL, two_classes
from tfcompress.distillation.losses.labels import class_probabilities
from tfcompress.distillation.losses.temperature import TEMPERATURE


class SelfDistillation(FeatureLoss):
    """Loss of classifiers on inner layers against labels and the model's own output.

        L = Σ_layers (1 - α) CE(y, z) + α KL(teacher, z),  z = W mean_positions F + b

    where `KL` has temperature T and its factor T². The classifiers are trained with the
    model and then discarded. Without labels, the loss is the sum of `KL` alone. Use it
    without a teacher: `Distiller(model, losses="self_distillation")`, where the model's
    own outputs are the teacher and get no gradient from it. The paper has convolutions in
    its classifiers, and also matches inner features to the last ones.

    Args:
        student_layers: names of layers, or None to choose them by resolution.
        temperature: T, positive, or a `keras.optimizers.schedules` object, a function of
            the optimizer step.
        alpha: α, weight of the soft targets, from 0 to 1.

    Raises:
        ValueError: if the temperature is not positive, α is out of range, or the outputs
            are not one vector of logits per example.

    Source: BYOT: Zhang et al., "Be Your Own Teacher" (2019), section 3.

    Example:
        >>> loss = SelfDistillation(["block1", "block2"])
        >>> loss.build([(None, 8, 8, 16), (None, 4, 4, 32)], (None, 10))
        >>> [adapter.kernel.shape.as_list() for adapter in loss.adapters]
        [[16, 10], [32, 10]]
    """

    teacher_reads = "outputs"

    def __init__(
        self,
        student_layers: LAYERS = None,
        temperature: TEMPERATURE = 3.0,
        alpha: Number(0, 1) = 0.3,
    ):
        super().__init__(student_layers)
        self.temperature = temperature
        self.alpha = alpha

    def build(self, student, teacher):
        """Creates a classifier for each layer."""
        if len(teacher) != 2:
            raise ValueError(
                "SelfDistillation needs outputs (batch, classes), but got shape "
                f"{tuple(teacher)}."
            )
        self.adapters = [linear_map(shape[-1], teacher[-1]) for shape in student]

    def __call__(self, student, teacher, labels=None, step=0):
        """The sum over all layers."""
        return sum(
            self._lesson(adapter(channel_means(feature)), teacher, labels, step)
            for adapter, feature in zip(
                self.adapters, as_features(student), strict=True
            )
        )

    def _lesson(self, logits, teacher, labels, step):
        soft = KL(self.temperature)(logits, teacher, step=step)
        if labels is None:
            return soft
        logits = two_classes(logits)
        wanted = class_probabilities(labels, logits)
        hard = -ops.sum(wanted * ops.log_softmax(logits), axis=-1)
        return (1 - self.alpha) * hard + self.alpha * soft
