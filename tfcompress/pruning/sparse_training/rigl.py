"""The rigged lottery."""

from tfcompress.core.data import Batches
from tfcompress.core.kinds import Integer, PlugIn, checked
from tfcompress.core.nouns import Criterion, Scope
from tfcompress.pruning.sparse_training.set import FRACTION, SET, SPARSITY


class RigL(SET):
    """Trains a sparse network and exchanges small weights for those of steep loss.

    As `SET`, but the smallest `|w|` go and the largest gradients `|dL/dw|` come, those of
    the batch just trained on, of masked weights too; every `frequency` steps, and a
    fraction `f/2 (1 + cos(π t / T))` of each weight's elements up to step `T`.

    Backpropagation has the gradient of masked weights anyway, so an update costs no
    pass of its own. The paper leaves out the optimizer's step where it updates masks;
    here both are done.

    Args:
        sparsity: fraction of the masked weights that are zero, in [0, 1).
        fraction: `f`.
        frequency: optimizer steps between updates; None for one after each epoch.
        end_step: `T`, from which masks stay; None for three quarters of the training.
        drop: a `tfc.criteria` object or name: the lowest scores go.
        grow: the same: the highest scores come.
        scope: a `tfc.scopes` object or name, which shares the sparsity out.
        data: batches over which criteria gather signals that the training does not show.
        seed: of all that is random, together with names of weights and steps.

    Raises:
        ValueError: if the model has no `Mask` transform, or another transform comes
            before it; if the length of the training is not known but needed.

    Source: Evci et al., "Rigging the Lottery: Making All Tickets Winners" (2020),
    section 3.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model = tfc.compress(model, {".*": "mask"})
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((16, 8)), np.ones((16, 4))
        >>> sparse = tfc.callbacks.RigL(0.75, frequency=2)
        >>> _ = model.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=[sparse])
        >>> tfc.report(model).sparsity
        0.75
    """

    changing_part = 0.75
    is_annealed = True

    @checked
    def __init__(
        self,
        sparsity: SPARSITY,
        fraction: FRACTION = 0.3,
        frequency: Integer(1) = 100,
        end_step: Integer(1) = None,
        drop: PlugIn(Criterion) = "magnitude",
        grow: PlugIn(Criterion) = "gradient",
        scope: PlugIn(Scope) = "erdos_renyi_kernel",
        data: Batches() = None,
        seed: Integer(0) = 0,
    ):
        super().__init__(
            sparsity, fraction, frequency, end_step, drop, grow, scope, data, seed
        )
