"""Importance based on the attention that a trained network pays."""

from tfcompress.core.nouns import Criterion


class PCAS(Criterion):
    """`score_k = E_n[s_nk]`, the mean attention to the output channel `k`.

    Squeeze-and-excitation modules are added after the layers of a trained network and
    trained alone, for five passes over the data. As attention lies between 0 and 1,
    layers can be compared: one ratio for the whole network, with `scope="global"`. All
    weights of a channel have the same score: use it for channels and the pattern
    `"filter"`.

    Source: Yamamoto and Maeno, "PCAS: Pruning channels with attention statistics for deep
    network compression" (2018).

    Example:
        >>> PCAS()(np.ones((3, 2)), {"attention": np.array([0.5, 0.9])})
        array([0.5, 0.9])
    """

    needs = frozenset({"attention"})

    def __call__(self, weight, signals):
        """The mean attention."""
        return signals["attention"]
