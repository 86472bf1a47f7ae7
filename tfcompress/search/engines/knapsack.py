"""The choices that harm least by what each does alone, found exactly."""

from tfcompress.core.nouns import SearchEngine
from tfcompress.search.costs import costs_of
from tfcompress.search.knapsack import choose


class Knapsack(SearchEngine):
    """Measures what each choice harms alone, and solves for the best sum.

        minimise  Σ_d Ω_d(c_d)    subject to    MACs(c) <= limit,  bytes(c) <= limit

    over all that can be chosen, with the harm `Ω_d(c)` of one choice alone: the squared
    error of the outputs by their spread, with the statistics of batch normalisation
    moved along. Multiply-accumulates are exact: the channels that a layer reads and
    those that it makes count as a product, and so do they in the bytes of its kernel. The
    sum is the least there is, or after a minute of solving the least that was found.

    Raises:
        TimeoutError: when it runs, if a minute is too short to find any solution.

    Source: Yao et al., "HAWQ-V3" (2021), section 3.4, for bits by integer programming;
    HALP: Shen et al., "Structural Pruning via Latency-Saliency Knapsack" (2022), for
    channels (without the products).

    Example:
        >>> tfc.search.engines.Knapsack()
        Knapsack()
    """

    def propose(self, study, limits):
        """The member with the least sum of harms."""
        rows = study.space.flat()
        places = choose(study.harms(rows), costs_of(study.proxy, rows, limits))
        return None if places is None else study.space.member(places)
