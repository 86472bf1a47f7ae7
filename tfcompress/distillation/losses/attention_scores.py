"""Matches the teacher's attention between positions."""

import math

from keras import ops

from tfcompress.distillation.losses.feature_loss import (
    FeatureLoss,
    as_features,
    as_targets,
)


class AttentionScores(FeatureLoss):
    """Mean squared difference of the attention scores of each head.

        L = Σ_layers 1/h Σ_heads mean (A_s - A_t)²,    A = Q Kᵀ / sqrt(d)

    for queries `Q` and keys `K` with `d` numbers per head. The scores are those before the
    softmax, as in the paper, and without masks: positions that are padding count like all
    others. Layers are Keras' `MultiHeadAttention`, or any with layers `query` and `key`
    inside that return `(batch, positions, heads, d)`; their outputs are recorded, so that
    fused attention teaches as well.

    Args:
        student_layers: names of attention layers. If None, all of the student learn from
            evenly spaced ones of the teacher: layer `m` of `M` from layer `m N / M` of `N`.
        teacher_layers: names of as many layers of the teacher.

    Raises:
        ValueError: if the layers do not form pairs, or have different numbers of heads or
            positions.

    Source: TinyBERT: Jiao et al., "TinyBERT: Distilling BERT for Natural Language
    Understanding" (2020), equation 7.

    Example:
        >>> one_head = np.array([[[[1.0]], [[2.0]]]])  # (batch, positions, heads, d)
        >>> student, teacher = [one_head, one_head], [one_head, 2 * one_head]
        >>> AttentionScores()(student, teacher).numpy()  # mean of 1, 4, 4, 16
        array([6.25], dtype=float32)
    """

    parts = ("query", "key")

    def build(self, student, teacher):
        """Checks that heads and positions are the same."""
        super().build(student, teacher)
        check_heads(self, student, teacher)

    def __call__(self, student, teacher, labels=None, step=0):
        """The sum over all layers."""
        pairs = zip(
            in_layers(self, as_features(student)),
            in_layers(self, as_targets(teacher)),
            strict=True,
        )
        return sum(self.compare(*pair) for pair in pairs)

    def compare(self, student, teacher):
        """The mean squared difference for the queries and keys of a layer."""
        gap = scores(*student) - scores(*teacher)
        return ops.mean(ops.square(gap), axis=(1, 2, 3))


def in_layers(loss, features):
    """Lists of as many features as the loss reads of each layer."""
    count = len(loss.parts)
    return [features[i : i + count] for i in range(0, len(features), count)]


def scores(queries, keys):
    """`Q Kᵀ / sqrt(d)`, a tensor `(batch, heads, positions, positions)`.

    Args:
        queries: tensor `(batch, positions, heads, d)`.
        keys: likewise.
    """
    products = ops.einsum("btnd,bsnd->bnts", queries, keys)
    return products / math.sqrt(queries.shape[-1])


def check_heads(loss, student, teacher):
    """Raises unless the shapes of each pair agree but for the numbers per head."""
    for pair in zip(student, teacher, strict=True):
        if any(len(shape) != 4 for shape in pair) or pair[0][:3] != pair[1][:3]:
            raise ValueError(
                f"{type(loss).__name__} compares heads of attention, but got shapes "
                f"{pair[0]} of the student and {pair[1]} of the teacher: expected "
                "(batch, positions, heads, d) with equal positions and heads. Name "
                "attention layers with the same number of heads."
            )
