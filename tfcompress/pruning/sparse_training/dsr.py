"""Dynamic sparse reparameterization."""

import numpy as np

from tfcompress.core.data import Batches
from tfcompress.core.kinds import Integer, Number, PlugIn, checked
from tfcompress.core.nouns import Criterion, Scope
from tfcompress.pruning.scopes import rounded
from tfcompress.pruning.sparse_training.set import FRACTION, SPARSITY
from tfcompress.pruning.sparse_training.shares import shares
from tfcompress.pruning.sparse_training.sparse_training import SparseTraining


class DSR(SparseTraining):
    """Trains a sparse network that learns how sparse each weight should be.

    Every `frequency` steps, all elements with `|w| < H` are dropped, from any weight.
    As many are grown at random places, distributed among the weights in proportion to
    what is left of each; elements that were just dropped may not grow at once. If the
    number dropped is below the desired `N = fraction * kept` by more than `tolerance`,
    the threshold `H` is doubled; if above, it is halved. The total number of elements
    is constant; at least one element of each weight stays.

    The model must have masks, which are drawn at random, as in `SET`. The threshold is
    not saved: resumed training chooses it again.

    Args:
        sparsity: fraction of the masked weights that are zero, in [0, 1).
        fraction: the fraction of the remaining weights that should be exchanged. The
            authors' code uses N = 600, which is 5 % of a LeNet-300-100 at a sparsity of
            0.95 and 23 % at 0.99.
        frequency: optimizer steps between updates; None for one after each epoch.
        end_step: the optimizer step from which masks are fixed; None for the beginning
            of the last epoch.
        threshold: `H` at the first update; None for the value at which `N` elements are
            dropped.
        tolerance: allowed deviation of the number dropped, as a fraction of `N`.
        drop: a `tfc.criteria` object or name, whose scores are compared with `H`.
        grow: the same; the highest scores are grown; None for random places.
        scope: a `tfc.scopes` object or name, which distributes the sparsity initially.
        data: batches over which criteria collect signals that training does not provide.
        seed: seed of all random choices, together with names of weights and steps.

    Raises:
        ValueError: if the model has no `Mask` transform, or another transform comes
            before it; if the length of the training is needed but unknown.

    Source: Mostafa and Wang, "Parameter Efficient Training of Deep Convolutional Neural
    Networks by Dynamic Sparse Reparameterization" (2019), algorithm 1.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8),
        ...     keras.layers.Dense(4)])
        >>> model = tfc.compress(model, {".*": "mask"})
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((16, 8)), np.ones((16, 4))
        >>> sparse = tfc.callbacks.DSR(0.75, fraction=0.2, frequency=2)
        >>> log = model.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=[sparse])
        >>> log.history["sparsity"]
        [0.75, 0.75, 0.75]
    """

    may_return = False

    @checked
    def __init__(
        self,
        sparsity: SPARSITY,
        fraction: FRACTION = 0.05,
        frequency: Integer(1) = 100,
        end_step: Integer(1) = None,
        threshold: Number(above=0) = None,
        tolerance: Number(0) = 0.1,
        drop: PlugIn(Criterion) = "magnitude",
        grow: PlugIn(Criterion) = None,
        scope: PlugIn(Scope) = "erdos_renyi_kernel",
        data: Batches() = None,
        seed: Integer(0) = 0,
    ):
        super().__init__(
            sparsity, drop, grow, fraction, frequency, end_step, scope, data, seed
        )
        self.tolerance = tolerance
        self.threshold = threshold

    def _num_dropped(self, masks, scores, signals, fraction):
        """The number in each weight below the threshold, which is then adapted."""
        kept = [score[mask] for score, mask in zip(scores, masks, strict=True)]
        everything = np.concatenate(kept)
        wanted = fraction * everything.size
        if self.threshold is None:
            place = min(rounded(wanted), everything.size - 1)
            self.threshold = float(np.partition(everything, place)[place])
        below = [np.count_nonzero(score < self.threshold) for score in kept]
        if sum(below) > (1 + self.tolerance) * wanted:
            self.threshold /= 2
        elif sum(below) < (1 - self.tolerance) * wanted:
            self.threshold *= 2
        below = [
            min(count, max(0, k.size - 1)) for count, k in zip(below, kept, strict=True)
        ]
        # All dropped elements need another place.
        room = sum(map(np.size, masks)) - everything.size
        return shares(min(sum(below), room), below, below)

    def _num_grown(self, masks, gone, signals):
        kept = [np.count_nonzero(mask) for mask in masks]
        survivors = np.subtract(kept, gone)
        return shares(
            sum(gone), survivors, [m.size - k for m, k in zip(masks, kept, strict=True)]
        )
