"""Matches the teacher's attention maps."""

from keras import ops

from tfcompress.core.kinds import Number
from tfcompress.distillation.losses.feature_loss import (
    LAYERS,
    FeatureLoss,
    check_ranks,
    flat,
    root,
    to_common_resolution,
    unit,
)


class AttentionTransfer(FeatureLoss):
    """Euclidean distance of normalised attention maps.

        L = Σ_layers ‖Q_s / ‖Q_s‖₂ - Q_t / ‖Q_t‖₂‖₂,  Q = Σ_channels |F|^power

    one number per position; the paper's equation without its factor β/2, which is the
    weight of the loss (β about 1000 divided by the number of positions). The distance is
    not squared; the authors' code takes the mean of squares. The gradient is zero where
    the maps are equal. The finer of two resolutions is averaged to the coarser one.

    Args:
        student_layers: names of layers with outputs `(batch, ..., channels)`, or None to
            choose them by resolution.
        teacher_layers: names of as many layers of the teacher.
        power: at least 1; higher values emphasise the strongest activations.

    Raises:
        ValueError: if the layers do not form pairs of the same rank or have no positions,
            or if the power is less than 1.

    Source: attention transfer (AT): Zagoruyko and Komodakis, "Paying More Attention to
    Attention" (2017), equation 2.

    Example:
        >>> student = np.array([[[3.0, 0.0], [0.0, 0.0]]])
        >>> teacher = np.array([[[0.0], [2.0]]])
        >>> np.round(AttentionTransfer()([student], [teacher]), 4)
        array([1.4142], dtype=float32)
    """

    def __init__(
        self,
        student_layers: LAYERS = None,
        teacher_layers: LAYERS = None,
        power: Number(1) = 2,
    ):
        super().__init__(student_layers, teacher_layers)
        # Lower powers have infinite gradients at zero.
        self.power = power

    def build(self, student, teacher):
        """Checks that there are positions to attend to."""
        super().build(student, teacher)
        check_ranks(self, student, teacher, least=3)

    def compare(self, student, teacher):
        """The distance between the maps."""
        maps = to_common_resolution(self._attention(student), self._attention(teacher))
        student, teacher = (unit(flat(attention)) for attention in maps)
        return root(ops.sum(ops.square(student - teacher), axis=-1))

    def _attention(self, feature):
        return ops.sum(ops.abs(feature) ** self.power, axis=-1, keepdims=True)
