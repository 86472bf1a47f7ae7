"""The rigged lottery."""

from tfcompress.core.data import Batches
from tfcompress.core.kinds import Integer, PlugIn, checked
from tfcompress.core.nouns import Criterion, Scope
from tfcompress.pruning.sparse_training.set import FRACTION, SET, SPARSITY


class RigL(SET):
    """Trains a sparse network and exchanges small weights for those with large gradients.

    Like `SET`, but the smallest `|w|` are dropped and the weights with the largest
    gradients `|dL/dw|` in the current training batch, including those of masked
    weights, are grown; every `frequency` steps, for a fraction `f/2 (1 + cos(π t / T))`
    of each weight's elements up to step `T`.

    Backpropagation computes the gradient of masked weights anyway, so an update needs
    no additional pass. The paper skips the optimizer's step when it updates masks; here
    both are done.

    Args:
        sparsity: fraction of the masked weights that are zero, in [0, 1).
        fraction: `f`, in [0, 1].
        frequency: optimizer steps between updates; None for one after each epoch.
        end_step: `T`, from which masks are fixed; None for three quarters of the training.
        drop: a `tfc.criteria` object or name; the lowest scores are dropped.
        grow: the same; the highest scores are grown.
        scope: a `tfc.scopes` object or name, which distributes the sparsity.
        data: batches over which criteria collect signals that training does not provide.
        seed: seed of all random choices, together with names of weights and steps.

    Raises:
        ValueError: if the model has no `Mask` transform, or another transform comes
            before it; if the length of the training is needed but unknown.

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
