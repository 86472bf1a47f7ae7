"""Matches the distances that the teacher's features have between examples."""

from keras import ops

from tfcompress.distillation.losses.feature_loss import FeatureLoss
from tfcompress.distillation.losses.pairs import (
    batch_size,
    centered_gram,
    distances,
    huber,
)


class RelationalDistance(FeatureLoss):
    """Difference of the distances between the examples of a batch.

        L_i = mean_{j≠i} huber(d_ij^s - d_ij^t),  d_ij = ‖x_i - x_j‖₂ / μ

    where μ is the mean distance over all pairs of the batch and `huber` has δ = 1. The
    mean of `L_i` is the mean over all pairs of different examples; the paper has the sum,
    and its code also counts the pairs of an example with itself, which add nothing.
    Student and teacher may have any number of features. The authors use weight 1 for
    embeddings; 25 is usual in classification.

    Args:
        student_layers: names of layers, or None for the last hidden one.
        teacher_layers: names of as many layers of the teacher.

    Raises:
        ValueError: if the layers do not form pairs.

    Source: RKD: Park et al., "Relational Knowledge Distillation" (2019), section 3.2.1.

    Example:
        >>> student = np.array([[0.0], [1.0], [2.0]])
        >>> teacher = np.array([[0.0, 0.0], [0.0, 3.0], [4.0, 0.0]])
        >>> np.round(RelationalDistance()([student], [teacher]), 4)
        array([0.0625, 0.0625, 0.125 ], dtype=float32)
    """

    last_layer_only = True

    def compare(self, student, teacher):
        """The mean over the pairs of each example."""
        student, teacher = _relative(student), _relative(teacher)
        others = ops.maximum(batch_size(student) - 1, 1)
        return ops.sum(huber(student - teacher), axis=-1) / others


def _relative(feature):
    found = distances(centered_gram(feature))
    count = batch_size(found)
    return ops.divide_no_nan(found * count * (count - 1), ops.sum(found))
