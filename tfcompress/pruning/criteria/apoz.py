"""Importance based on how rarely activations are zero."""

from tfcompress.core.nouns import Criterion


class Apoz(Criterion):
    """`score_k = 1 - P(a_k = 0)` of the output channel `k` of a weight.

    APoZ is the average percentage of zeros: channels that are mostly zero are removed
    first. Outputs are those of the layer itself, which needs its own activation, such
    as ReLU. All weights of a channel have the same score: use it for channels and the
    pattern `"filter"`.

    Source: Hu et al., "Network Trimming" (2016), equation 1.

    Example:
        >>> Apoz()(np.ones((3, 2)), {"activation_zeros": np.array([0.75, 0.5])})
        array([0.25, 0.5 ])
    """

    needs = frozenset({"activation_zeros"})

    def __call__(self, weight, signals):
        """How often activations are not zero."""
        return 1 - signals["activation_zeros"]
