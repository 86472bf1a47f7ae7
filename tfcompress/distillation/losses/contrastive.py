"""Matches the way in which the teacher's features tell examples apart."""

from keras import ops

from tfcompress.core.kinds import Integer
from tfcompress.distillation.losses.feature_loss import (
    LAYERS,
    FeatureLoss,
    as_features,
    as_targets,
    channel_means,
    linear_map,
    unit,
)
from tfcompress.distillation.losses.temperature import TEMPERATURE, temperature_at


class Contrastive(FeatureLoss):
    """How hard it is to find the teacher's view of an example from the student's.

        L_i = - log (exp(⟨u_i, v_i⟩ / T) / Σ_j exp(⟨u_i, v_j⟩ / T))

    with `u = W_s F_s` and `v = W_t F_t` normalised to length one; both maps are learned.
    Features with several positions are first averaged over them. The other examples `j`
    are those of the batch: the larger the batch, the better. The paper draws thousands of
    them from a memory bank with `u` and `v` of all training examples, uses labels to draw
    only from other classes, and takes a binary loss for each instead of the softmax. Both
    are lower bounds of the mutual information of the features, this one at most log(batch).

    Args:
        student_layers: names of layers, or None for the last hidden one.
        teacher_layers: names of as many layers of the teacher.
        dimension: length of `u` and `v`, at least 1.
        temperature: T, positive, or a `keras.optimizers.schedules` object, a function of
            the optimizer step.

    Raises:
        ValueError: if the layers do not form pairs, or the temperature is not positive.

    Source: CRD: Tian et al., "Contrastive Representation Distillation" (2020), section
    3; for the softmax van den Oord et al., "Representation Learning with Contrastive
    Predictive Coding" (2018), equation 4.

    Example:
        >>> loss = Contrastive(dimension=2, temperature=1.0)
        >>> loss.build([(None, 2)], [(None, 2)])
        >>> for adapter in loss.adapters:
        ...     adapter.set_weights([np.eye(2), np.zeros(2)])
        >>> student, teacher = np.array([[1.0, 0.0], [0.0, 1.0]]), 5 * np.eye(2)
        >>> np.round(loss([student], [teacher]), 4)
        array([0.3133, 0.3133], dtype=float32)
    """

    last_layer_only = True

    def __init__(
        self,
        student_layers: LAYERS = None,
        teacher_layers: LAYERS = None,
        dimension: Integer(1, 2**16) = 128,
        temperature: TEMPERATURE = 0.1,
    ):
        super().__init__(student_layers, teacher_layers)
        self.dimension = dimension
        self.temperature = temperature

    def build(self, student, teacher):
        """Creates an embedding for each student layer, then for each teacher layer."""
        super().build(student, teacher)
        self.adapters = [
            linear_map(shape[-1], self.dimension) for shape in (*student, *teacher)
        ]

    def __call__(self, student, teacher, labels=None, step=0):
        """The sum over all pairs."""
        features = as_features(student) + as_targets(teacher)
        embeddings = [
            unit(adapter(channel_means(feature)))
            for adapter, feature in zip(self.adapters, features, strict=True)
        ]
        temperature = temperature_at(self.temperature, step)
        pairs = zip(embeddings[: len(student)], embeddings[len(student) :], strict=True)
        return sum(_surprise(u, v, temperature) for u, v in pairs)


def _surprise(student, teacher, temperature):
    similarities = ops.matmul(student, ops.transpose(teacher)) / temperature
    return -ops.diagonal(ops.log_softmax(similarities))
