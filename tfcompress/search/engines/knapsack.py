"""The choices with the least sum of individual harms, found exactly."""

from tfcompress.core.kinds import OneOf, checked
from tfcompress.core.nouns import SearchEngine
from tfcompress.search.costs import costs_of
from tfcompress.search.knapsack import choose
from tfcompress.search.proxy import HARMS


class Knapsack(SearchEngine):
    """Measures the harm of each choice alone, and solves for the least sum.

        minimise  Σ_d Ω_d(c_d)    subject to    MACs(c) <= limit,  bytes(c) <= limit

    over all choices to make, with the harm `Ω_d(c)` of one choice alone. For a choice that
    changes weights `W` to `W̃`, it is, as in `tfc.mixed_precision`,

        output_error:   Σ_o E‖f_o(x; W) - f_o(x; W̃)‖² / E‖f_o - E f_o‖²
        score:          max(0, score(W) - score(W̃)); where it is equal, the output error
        hessian_trace:  Σ_l tr(H_l) / n_l · ‖W̃_l - W_l‖²

    with updated statistics of batch normalisation for the first two. Multiply-accumulates
    are exact: the number of channels that a layer reads is multiplied by the number that it
    produces, also for the bytes of its kernel. The sum is the smallest possible one, or,
    after a minute of solving, the smallest found.

    Args:
        sensitivity: `"output_error"`, `"score"` or `"hessian_trace"`, which requires a
            compiled model.

    Raises:
        TimeoutError: when it runs, if no solution is found within a minute.

    Source: Dong et al., "HAWQ-V2" (2020), for the traces; Yao et al., "HAWQ-V3" (2021),
    section 3.4, for bits by integer programming; HALP: Shen et al., "Structural Pruning
    via Latency-Saliency Knapsack" (2022), for channels (without the products).

    Example:
        >>> tfc.search.engines.Knapsack("score")
        Knapsack(sensitivity='score')
    """

    @checked
    def __init__(self, sensitivity: OneOf(*HARMS) = "output_error"):
        self.sensitivity = sensitivity

    def propose(self, study, limits):
        """The member with the least sum of harms."""
        rows = study.space.flat()
        harms = study.harms(rows, self.sensitivity)
        places = choose(harms, costs_of(study.proxy, rows, limits))
        return None if places is None else study.space.member(places)
