"""Sparse evolutionary training."""

from tfcompress.core.data import Batches
from tfcompress.core.kinds import Integer, Number, PlugIn, checked
from tfcompress.core.nouns import Criterion, Scope
from tfcompress.pruning.sparse_training.sparse_training import SparseTraining

SPARSITY = Number(0, below=1, meaning="the fraction of weights that are zero")
FRACTION = Number(0, 1, meaning="the fraction of the remaining weights to exchange")


class SET(SparseTraining):
    """Trains a sparse network and exchanges weights near zero for random ones.

    After each epoch except the last, the smallest fraction `ζ` of each weight's
    positive elements is dropped, and likewise of its negative ones; as many are grown
    at random places. They start at 0, with reset optimizer slots. Elements that were
    just dropped may be grown again and then keep their value. So the number of elements
    of each weight is constant.

    The model must have masks (`tfc.compress(model, {".*": "mask"})`), and need not be
    trained. Masks are drawn at random when training begins, unless the right number of
    elements is already set, as in resumed training. They are variables of the model and
    are saved with it.

    Args:
        sparsity: fraction of the masked weights that are zero, in [0, 1).
        fraction: `ζ`, in [0, 1].
        frequency: optimizer steps between updates; None for one after each epoch.
        end_step: the optimizer step from which masks are fixed; None for the beginning
            of the last epoch.
        drop: a `tfc.criteria` object or name; the lowest scores are dropped.
        grow: the same; the highest scores are grown; None for random places.
        scope: a `tfc.scopes` object or name, which distributes the sparsity.
        data: batches over which criteria collect signals that training does not
            provide; gradient and momentum are those of the training batches.
        seed: seed of all random choices, together with names of weights and steps.

    Raises:
        ValueError: if the model has no `Mask` transform, or another transform comes
            before it; if the length of the training is needed but unknown.

    Source: Mocanu et al., "Scalable training of artificial neural networks with adaptive
    sparse connectivity inspired by network science" (2018), algorithm 1.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model = tfc.compress(model, {".*": "mask"})
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((16, 8)), np.ones((16, 4))
        >>> sparse = tfc.callbacks.SET(0.75)
        >>> _ = model.fit(x, y, epochs=3, verbose=0, callbacks=[sparse])
        >>> sparse.num_kept, tfc.report(model).sparsity
        (8, 0.75)
    """

    @checked
    def __init__(
        self,
        sparsity: SPARSITY,
        fraction: FRACTION = 0.3,
        frequency: Integer(1) = None,
        end_step: Integer(1) = None,
        drop: PlugIn(Criterion) = "magnitude_per_sign",
        grow: PlugIn(Criterion) = None,
        scope: PlugIn(Scope) = "erdos_renyi_kernel",
        data: Batches() = None,
        seed: Integer(0) = 0,
    ):
        super().__init__(
            sparsity, drop, grow, fraction, frequency, end_step, scope, data, seed
        )
