"""Factor by which batch normalization multiplies the outputs of a layer."""

import numpy as np

from tfcompress.core.collect import norms_after
from tfcompress.core.nouns import Signal


class BatchNormGamma(Signal):
    """`γ_k` of the batch normalization that reads output channel `k`.

    No data is needed.

    Raises:
        ValueError: if no batch normalization reads the outputs of the layer, or it has
            no `γ`.

    Source: Liu et al., "Learning efficient convolutional networks through network
    slimming" (2017), section 3.

    Example:
        >>> tfc.signals.get("batch_norm_gamma")
        BatchNormGamma()
    """

    def measure(self, source):
        """The factors, in a shape that broadcasts to each weight."""
        refs = [weight.ref for weight in source.weights]
        norms = norms_after(source.copy, refs)
        return [_gamma(ref, norm) for ref, norm in zip(refs, norms, strict=True)]


def _gamma(ref, norm):
    gamma = None if norm is None else norm.gamma
    if gamma is None:
        what = "none reads" if norm is None else f"{norm.name!r} has none, but reads"
        raise ValueError(
            f"BatchNormGamma scores by the gamma of a BatchNormalization: {what} the "
            f"outputs of the layer of weight {ref.path!r}. Exclude it with a rule such as "
            "{'conv.*': 0.5} or ignore=, or use another criterion, such as 'l2'."
        )
    return np.asarray(gamma)
