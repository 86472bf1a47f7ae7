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
    """Trains a sparse network that finds out how sparse each weight should be.

    Every `frequency` steps all elements with `|w| < H` go, of whatever weight. As many
    come at random places, shared out between the weights in proportion to what stayed of
    each; what has just gone may not come at once. If fewer went than the wanted
    `N = fraction * kept` by more than `tolerance`, the threshold `H` is doubled, if more
    it is halved. The number of all weights together is the same all the time; at least
    one element of each stays.

    The model must have masks, which are drawn at random, as in `SET`. The threshold is
    not saved: a training that is resumed chooses it anew.

    Args:
        sparsity: fraction of the masked weights that are zero, in [0, 1).
        fraction: of the weights that stay, how many should be exchanged. The authors'
            code takes N = 600, which is 5 % of a LeNet-300-100 at a sparsity of 0.95
            and 23 % at 0.99.
        frequency: optimizer steps between updates; None for one after each epoch.
        end_step: the optimizer step from which masks stay; None for the beginning of the
            last epoch.
        threshold: `H` at the first update; None for the one at which as many go as
            should.
        tolerance: by what part of `N` the number may be missed.
        drop: a `tfc.criteria` object or name, whose scores are held against `H`.
        grow: the same: the highest scores come; None for random places.
        scope: a `tfc.scopes` object or name, which shares the sparsity out at first.
        data: batches over which criteria gather signals that the training does not show.
        seed: of all that is random, together with names of weights and steps.

    Raises:
        ValueError: if the model has no `Mask` transform, or another transform comes
            before it; if the length of the training is not known but needed.

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
        """As many of each as are below the threshold, which follows."""
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
        # All that go need another place.
        room = sum(map(np.size, masks)) - everything.size
        return shares(min(sum(below), room), below, below)

    def _num_grown(self, masks, gone, signals):
        kept = [np.count_nonzero(mask) for mask in masks]
        survivors = np.subtract(kept, gone)
        return shares(
            sum(gone), survivors, [m.size - k for m, k in zip(masks, kept, strict=True)]
        )
