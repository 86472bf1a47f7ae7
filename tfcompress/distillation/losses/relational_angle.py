"""Matches the angles that the teacher's features form between examples."""

from keras import ops

from tfcompress.distillation.losses.feature_loss import FeatureLoss
from tfcompress.distillation.losses.pairs import (
    batch_size,
    centered_gram,
    distances,
    huber,
)


class RelationalAngle(FeatureLoss):
    """Difference of the angles formed by three examples of a batch.

        L_j = mean_{i,k} huber(cos^s_ijk - cos^t_ijk)
        cos_ijk = ⟨e_ij, e_kj⟩,  e_ij = (x_i - x_j) / ‖x_i - x_j‖₂

    over the triples of different examples with the corner `j`, where `huber` has δ = 1.
    The mean of `L_j` is the mean over all triples; the paper has the sum, and its code
    divides by batch³. Student and teacher may have any number of features. It needs memory
    for a few times batch³ numbers. The authors weight it twice as much as
    `RelationalDistance`.

    Args:
        student_layers: names of layers, or None for the last hidden one.
        teacher_layers: names of as many layers of the teacher.

    Raises:
        ValueError: if the layers do not form pairs.

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
    # ⟨x_i - x_j, x_k - x_j⟩ from inner products alone, since vectors may be long.
    to_corner = ops.diagonal(products)[:, None] - products
    sides = to_corner[:, :, None] - products[:, None, :] + products[None, :, :]
    return ops.divide_no_nan(sides, lengths[:, :, None] * lengths[:, None, :])
