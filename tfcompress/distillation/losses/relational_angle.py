"""Angles between examples like the teacher's."""

from keras import ops

from tfcompress.distillation.losses.feature_loss import FeatureLoss
from tfcompress.distillation.losses.pairs import (
    batch_size,
    centered_gram,
    distances,
    huber,
)


class RelationalAngle(FeatureLoss):
    """How much the angles that three examples of a batch form differ.

        L_j = mean_{i,k} huber(cos^s_ijk - cos^t_ijk)
        cos_ijk = ⟨e_ij, e_kj⟩,  e_ij = (x_i - x_j) / ‖x_i - x_j‖₂

    over the triples of three examples with the corner `j`, `huber` of δ = 1. The mean of
    `L_j` is that over all triples; the paper has the sum, and its code divides by batch³.
    Student and teacher may have any numbers of features. It needs room for a few times
    batch³ numbers. The authors weigh it twice as much as `RelationalDistance`.

    Args:
        student_layers: names of layers, or None for the last hidden one.
        teacher_layers: as many names of layers of the teacher.

    Raises:
        ValueError: if the layers do not come in pairs.

    Source: RKD: Park et al., "Relational Knowledge Distillation" (2019), section 3.2.2.

    Example:
        >>> student = np.array([[0.0], [1.0], [2.0]])
        >>> teacher = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> np.round(RelationalAngle()([student], [teacher]), 4)
        array([0.5   , 1.2071, 0.0429], dtype=float32)
    """

    last_layer_only = True

    def compare(self, student, teacher):
        """The mean over the triples with each example as their corner."""
        gaps = huber(_cosines(student) - _cosines(teacher))
        count = batch_size(gaps)
        triples = ops.maximum((count - 1) * (count - 2), 1)
        return ops.sum(gaps, axis=(1, 2)) / triples


def _cosines(feature):
    """Cosines `(corner, first, second)`; zero where an example is the corner."""
    products = centered_gram(feature)
    lengths = distances(products)
    # ⟨x_i - x_j, x_k - x_j⟩ by products alone, since vectors may be long.
    to_corner = ops.diagonal(products)[:, None] - products
    sides = to_corner[:, :, None] - products[:, None, :] + products[None, :, :]
    return ops.divide_no_nan(sides, lengths[:, :, None] * lengths[:, None, :])
