"""Matches the teacher's features."""

import keras
from keras import ops

from tfcompress.distillation.losses.feature_loss import (
    FeatureLoss,
    as_features,
    check_ranks,
    linear_map,
    to_common_resolution,
)


class Hints(FeatureLoss):
    """Mean squared difference of features, after a learned linear map.

        L = Σ_layers mean (r(F_s) - F_t)²

    where `r` is a 1x1 convolution (a dense layer at each position) to the teacher's number
    of channels, or the identity if the numbers are equal. The finer of two resolutions is
    averaged to the coarser one. The paper has half the sum of squares instead of the mean,
    one pair of layers, and a larger convolution instead of averaging. Named hidden states
    of transformers make it TinyBERT's loss of them.

    Args:
        student_layers: names of layers with outputs `(batch, ..., channels)`, or None to
            choose them by resolution.
        teacher_layers: names of as many layers of the teacher.

    Raises:
        ValueError: if the layers do not form pairs of the same rank.

    Source: Romero et al., "FitNets: Hints for Thin Deep Nets" (2015), equation 3; hidden
    states: Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding"
    (2020), equation 8.

    Example:
        >>> loss = Hints(["pool1"], ["pool3"])
        >>> loss.build([(None, 8, 8, 16)], [(None, 8, 8, 64)])
        >>> loss.adapters[0].kernel.shape.as_list()
        [16, 64]
        >>> equal = [np.array([[1.0, 2.0]])], [np.array([[2.0, 5.0]])]
        >>> Hints()(*equal).numpy()
        array([5.], dtype=float32)
    """

    def build(self, student, teacher):
        """Creates an adapter for each pair."""
        super().build(student, teacher)
        check_ranks(self, student, teacher)
        pairs = zip(student, teacher, strict=True)
        self.adapters = [_adapter(s[-1], t[-1]) for s, t in pairs]

    def __call__(self, student, teacher, labels=None, step=0):
        """The sum over all pairs."""
        if self.adapters:
            pairs = zip(self.adapters, as_features(student), strict=True)
            student = [adapter(feature) for adapter, feature in pairs]
        return super().__call__(student, teacher)

    def compare(self, student, teacher):
        """The mean squared difference."""
        student, teacher = to_common_resolution(student, teacher)
        axes = tuple(range(1, len(student.shape)))
        return ops.mean(ops.square(student - teacher), axis=axes)


def _adapter(channels, wanted):
    if channels == wanted:
        return keras.layers.Identity(dtype="float32")
    return linear_map(channels, wanted)
