"""Sparse networks from scratch: sparse momentum."""

import math

import numpy as np

from tfcompress.core.data import Batches
from tfcompress.core.kinds import Integer, PlugIn, checked
from tfcompress.core.nouns import Criterion, Scope
from tfcompress.pruning.sparse_training.set import FRACTION, SPARSITY
from tfcompress.pruning.sparse_training.shares import shares
from tfcompress.pruning.sparse_training.sparse_training import SparseTraining

# The fraction of a weight's places that can be used.
_MOST = 0.99
# A growing weight that is less sparse than this loses few elements.
_DENSE = 0.2


class SNFS(SparseTraining):
    """Trains a sparse network that moves weights to where the momentum is large.

    After each epoch except the last, the fraction `f/2 (1 + cos(π t / T))` of each
    weight's elements with the smallest `|w|` is dropped. As many are grown: distributed
    among the weights in proportion to the mean `|m|` of their elements before, and in
    each weight where `|m|` of masked elements is largest. No weight takes more than
    99 % of its free places; the excess goes to others. A weight that is less than 20 %
    sparse, and has more than an average share of the momentum, loses at most a fraction
    equal to its sparsity.

    `m` is the running mean of gradients, including those of masked elements; with an
    optimizer that divides by a second moment, such as Adam, `m / (√v + ε)`. It is
    computed with the optimizer's own `β`, 0.9 if it has none, and not saved: resumed
    training accumulates it again.

    The model must have masks, which are drawn at random, as in `SET`. The total number
    of elements is constant.

    Args:
        sparsity: fraction of the masked weights that are zero, in [0, 1).
        fraction: `f`, in [0, 1].
        frequency: optimizer steps between updates; None for one after each epoch.
        end_step: `T`, from which masks are fixed; None for the beginning of the last epoch.
        drop: a `tfc.criteria` object or name; the lowest scores are dropped.
        grow: the same; the highest scores are grown.
        scope: a `tfc.scopes` object or name, which distributes the sparsity initially.
        data: batches over which criteria collect signals that training does not provide.
        seed: seed of all random choices, together with names of weights and steps.

    Raises:
        ValueError: if the model has no `Mask` transform, or another transform comes
            before it; if the length of the training is needed but unknown.

    Source: Dettmers and Zettlemoyer, "Sparse Networks from Scratch: Faster Training
    without Losing Performance" (2019), section 3.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8),
        ...     keras.layers.Dense(4)])
        >>> model = tfc.compress(model, {".*": "mask"})
        >>> model.compile("adam", "mse")
        >>> x, y = np.ones((16, 8)), np.ones((16, 4))
        >>> sparse = tfc.callbacks.SNFS(0.75)
        >>> log = model.fit(x, y, epochs=3, verbose=0, callbacks=[sparse])
        >>> log.history["sparsity"]
        [0.75, 0.75, 0.75]
    """

    needs = frozenset({"momentum"})
    is_annealed = True

    @checked
    def __init__(
        self,
        sparsity: SPARSITY,
        fraction: FRACTION = 0.5,
        frequency: Integer(1) = None,
        end_step: Integer(1) = None,
        drop: PlugIn(Criterion) = "magnitude",
        grow: PlugIn(Criterion) = "momentum",
        scope: PlugIn(Scope) = "erdos_renyi_kernel",
        data: Batches() = None,
        seed: Integer(0) = 0,
    ):
        super().__init__(
            sparsity, drop, grow, fraction, frequency, end_step, scope, data, seed
        )

    def _num_dropped(self, masks, scores, signals, fraction):
        momenta = _momenta(masks, signals)
        counts = []
        for mask, momentum in zip(masks, momenta, strict=True):
            kept = np.count_nonzero(mask)
            sparsity = 1 - kept / mask.size
            is_growing = momentum > sum(momenta) / len(momenta)
            part = (
                min(fraction, sparsity)
                if sparsity < _DENSE and is_growing
                else fraction
            )
            # One stays, or nothing would pass through the layer.
            counts.append(min(math.ceil(part * kept), max(0, kept - 1)))
        return counts

    def _num_grown(self, masks, gone, signals):
        places = [
            mask.size - np.count_nonzero(mask) + count
            for mask, count in zip(masks, gone, strict=True)
        ]
        limits = [int(_MOST * count) for count in places]
        if sum(limits) < sum(gone):
            limits = places
        return shares(sum(gone), _momenta(masks, signals), limits)


def _momenta(masks, signals):
    """Mean magnitude of the momentum of each weight's current elements."""
    return [
        float(np.abs(signal["momentum"][mask]).mean()) if mask.any() else 0.0
        for mask, signal in zip(masks, signals, strict=True)
    ]
