"""Importance based on the change of the loss if a channel is removed."""

from tfcompress.core.nouns import Criterion


class TaylorGate(Criterion):
    """`score_k = E_b[(γ_k dL_b/dγ_k + β_k dL_b/dβ_k)²]` of output channel `k`.

    `γ` and `β` are those of the batch normalization that reads the layer; if there is
    none, `score_k = E_b[(Σ_i w_ik dL_b/dw_ik)²]` over the weights of the channel. The
    mean is over batches `b` with mean losses `L_b`; 10 to 30 are enough. All weights of
    a channel have the same score: use it for channels and the pattern `"filter"`.

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
