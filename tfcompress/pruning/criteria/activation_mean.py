"""Importance based on how large activations are."""

from tfcompress.core.nouns import Criterion


class ActivationMean(Criterion):
    """`score_k = E[|a_k|]` of the output channel `k` of a weight.

    All weights of a channel have the same score: use it for channels and the pattern
    `"filter"`.

    Source: Molchanov et al., "Pruning Convolutional Neural Networks for Resource
    Efficient Inference" (2017), section 2.2.

    Example:
        >>> ActivationMean()(np.ones((3, 2)), {"activation_mean": np.array([0.5, 2.0])})
        array([0.5, 2. ])
    """

    needs = frozenset({"activation_mean"})

    def __call__(self, weight, signals):
        """The means."""
        return signals["activation_mean"]
