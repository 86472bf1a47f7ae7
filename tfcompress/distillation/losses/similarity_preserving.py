"""Matches the similarities that the teacher's features have between examples."""

from keras import ops

from tfcompress.distillation.losses.feature_loss import FeatureLoss, unit
from tfcompress.distillation.losses.pairs import batch_size, gram


class SimilarityPreserving(FeatureLoss):
    """Difference of the similarities between the examples of a batch.

        L_i = 1/b Σ_layers ‖g_i^s - g_i^t‖₂²,  g_i = G_i / ‖G_i‖₂

    where `G = F Fᵀ` for the flattened features of the `b` examples. The mean of `L_i` is
    the paper's `1/b² Σ_layers ‖·‖_F²`. Student and teacher may have any number of
    features. It needs a large weight; 3000 is usual.

    Args:
        student_layers: names of layers, or None to choose them by resolution.
        teacher_layers: names of as many layers of the teacher.

    Raises:
        ValueError: if the layers do not form pairs.

    Source: SP: Tung and Mori, "Similarity-Preserving Knowledge Distillation" (2019),
    section 3.

    Example:
        >>> student, teacher = np.array([[1.0], [1.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> np.round(SimilarityPreserving()([student], [teacher]), 4)
        array([0.2929, 0.2929], dtype=float32)
    """

    def compare(self, student, teacher):
        """The difference of the similarities of each example."""
        gap = unit(gram(student)) - unit(gram(teacher))
        return ops.sum(ops.square(gap), axis=-1) / batch_size(gap)
