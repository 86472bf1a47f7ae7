"""Importance by what the loss would change by if a channel were gone."""

from tfcompress.core.nouns import Criterion


class TaylorGate(Criterion):
    """`score_k = E_b[(γ_k dL_b/dγ_k + β_k dL_b/dβ_k)²]` of output channel `k`.

    `γ` and `β` are those of the batch normalization that reads the layer; where none
    does, `score_k = E_b[(Σ_i w_ik dL_b/dw_ik)²]` over the weights of the channel. Over
    batches `b` with the mean loss `L_b`; 10 to 30 do. All weights of a channel score
    alike: made for channels and the pattern `"filter"`.

    Source: Molchanov et al., "Importance Estimation for Neural Network Pruning" (2019),
    equations 6 to 8.

    Example:
        >>> TaylorGate()(np.ones((3, 2)), {"gate_gradient": np.array([0.5, 2.0])})
        array([0.5, 2. ])
    """

    needs = frozenset({"gate_gradient"})

    def __call__(self, weight, signals):
        """The means of the squares."""
        return signals["gate_gradient"]
