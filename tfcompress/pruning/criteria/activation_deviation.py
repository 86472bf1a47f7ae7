"""Importance based on how much activations vary."""

from tfcompress.core.nouns import Criterion


class ActivationDeviation(Criterion):
    """`score_k = sqrt(E[a_k²] - E[a_k]²)` of the output channel `k` of a weight.

    All weights of a channel have the same score: use it for channels and the pattern
    `"filter"`. A channel that never varies can be replaced by a bias.

    Source: Molchanov et al., "Pruning Convolutional Neural Networks for Resource
    Efficient Inference" (2017), section 2.2.

    Example:
        >>> signals = {"activation_deviation": np.array([0.5, 2.0])}
        >>> ActivationDeviation()(np.ones((3, 2)), signals)
        array([0.5, 2. ])
    """

    needs = frozenset({"activation_deviation"})

    def __call__(self, weight, signals):
        """The standard deviations."""
        return signals["activation_deviation"]
