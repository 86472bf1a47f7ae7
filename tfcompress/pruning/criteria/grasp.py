"""Importance before training, based on preserving the gradient flow."""

from tfcompress.core.nouns import Criterion


class GraSP(Criterion):
    """`score_i = w_i (H g)_i`, with the gradient `g` and the Hessian `H` of the loss.

    Removing weight `i` changes `gᵀg` by about `-2 w_i (H g)_i`: the weights whose
    removal leaves the largest gradient are pruned. Use it once, on new models, with
    `scope="global"` and one batch of about 25 samples per class. Logits are divided by
    a temperature of 200.

    Source: Wang et al., "Picking winning tickets before training by preserving gradient
    flow" (2020), equation 8 (of which this is the negative, since higher = keep).

    Example:
        >>> GraSP()(np.array([1.0, -3.0]), {"gradient_flow": np.array([2.0, 1.0])})
        array([ 2., -3.])
    """

    needs = frozenset({"gradient_flow"})

    def __call__(self, weight, signals):
        """The products."""
        return weight * signals["gradient_flow"]
