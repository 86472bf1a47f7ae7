"""Matches the attention and the relations of values in the teacher's last layer."""

from keras import ops

from tfcompress.core.kinds import Flag
from tfcompress.distillation.losses.attention_scores import (
    AttentionScores,
    scores,
)
from tfcompress.distillation.losses.feature_loss import LAYERS

_HIDDEN = -1e9


class AttentionRelations(AttentionScores):
    """KL divergence of attention, and of the relations between values.

        L = KL(A_t ‖ A_s) + KL(R_t ‖ R_s),
        A = softmax(Q Kᵀ / sqrt(d)),    R = softmax(V Vᵀ / sqrt(d))

    each the mean over heads and positions. Student and teacher may have any number of
    layers and of numbers `d` per head. Positions that are padding count like all others.
    Layers are as in `AttentionScores`, with a layer `value` as well.

    Args:
        student_layers: names of attention layers; if None, the last one.
        teacher_layers: names of as many layers of the teacher.
        causal: whether positions attend only to those before them, as in decoders.

    Raises:
        ValueError: if the layers do not form pairs, or have different numbers of heads or
            positions.

    Source: MiniLM: Wang et al., "MiniLM: Deep Self-Attention Distillation for
    Task-Agnostic Compression of Pre-Trained Transformers" (2020), equations 5 to 8.

    Example:
        >>> q, k, v = np.zeros((3, 1, 2, 1, 1))  # (batch, positions, heads, d)
        >>> taught = np.array([[[[1.0]], [[0.0]]]]), np.log([[[[3.0]], [[1.0]]]]), v
        >>> loss = AttentionRelations()([q, k, v], list(taught))
        >>> np.round(loss, 4)  # half of KL((3/4, 1/4) ‖ (1/2, 1/2))
        array([0.0654], dtype=float32)
    """

    parts = ("query", "key", "value")
    last_layer_only = True

    def __init__(
        self,
        student_layers: LAYERS = None,
        teacher_layers: LAYERS = None,
        causal: Flag() = False,
    ):
        super().__init__(student_layers, teacher_layers)
        self.causal = causal

    def compare(self, student, teacher):
        """Both divergences for the queries, keys and values of a layer."""
        return self._divergence(student[:2], teacher[:2]) + self._divergence(
            [student[2]] * 2, [teacher[2]] * 2
        )

    def _divergence(self, student, teacher):
        learned, taught = (
            ops.log_softmax(self._visible(scores(*pair)), axis=-1)
            for pair in (student, teacher)
        )
        gap = ops.sum(ops.exp(taught) * (taught - learned), axis=-1)
        return ops.mean(gap, axis=(1, 2))

    def _visible(self, products):
        if not self.causal:
            return products
        queries, keys = products.shape[-2:]
        later = ops.arange(keys)[None] > ops.arange(queries)[:, None]
        return products + _HIDDEN * ops.cast(later, products.dtype)
