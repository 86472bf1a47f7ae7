"""Alternating compression and decompression."""

import numpy as np

from tfcompress.core.compress import strip
from tfcompress.core.data import Batches
from tfcompress.core.kinds import Integer, PlugIn, checked
from tfcompress.core.nouns import Criterion, Scope, top
from tfcompress.core.optimizers import optimizer_of
from tfcompress.pruning.prune import Engine, forget
from tfcompress.pruning.sparse_training.masked_training import MaskedTraining
from tfcompress.pruning.sparse_training.set import SPARSITY


class ACDC(MaskedTraining):
    """Trains alternately with all weights and with only the largest ones.

    After `warm_up_epochs` with all weights come `phase_epochs` with only the largest
    `|w|`, then as many with all of them again, where the others start from 0, and so
    on; the last `final_epochs` are sparse. When all weights return, the optimizer's
    momenta are reset. So the training yields a sparse model and a dense one, from
    before the last sparse phase. Phases begin with epochs, so that resumed training
    continues in the phase in which it stopped.

    The model must have masks (`tfc.compress(model, {".*": "mask"})`).

    Args:
        sparsity: fraction of the masked weights that are zero in sparse phases, in [0, 1).
        warm_up_epochs: initial epochs with all weights.
        phase_epochs: epochs of each phase after that.
        final_epochs: minimum epochs of the last sparse phase; None for three phases.
        criterion: a `tfc.criteria` object or name.
        scope: a `tfc.scopes` object or name, which distributes the sparsity.
        data: batches over which criteria that need signals collect them.

    Attributes:
        dense_model: a plain model from the end of the last dense phase; None before that.

    Raises:
        ValueError: if the model has no `Mask` transform, or another transform comes
            before it; if the training is too short for the phases.

    Source: Peste et al., "AC/DC: Alternating Compressed/DeCompressed Training of Deep
    Neural Networks" (2021), section 3 and figure 1.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model = tfc.compress(model, {".*": "mask"})
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((16, 8)), np.ones((16, 4))
        >>> phases = tfc.callbacks.ACDC(0.75, warm_up_epochs=1, phase_epochs=1)
        >>> log = model.fit(x, y, epochs=6, verbose=0, callbacks=[phases])
        >>> log.history["sparsity"]
        [0.0, 0.75, 0.0, 0.75, 0.75, 0.75]
        >>> tfc.report(phases.dense_model).sparsity
        0.0
    """

    @checked
    def __init__(
        self,
        sparsity: SPARSITY,
        warm_up_epochs: Integer(0) = 5,
        phase_epochs: Integer(1) = 5,
        final_epochs: Integer(1) = None,
        criterion: PlugIn(Criterion) = "magnitude",
        scope: PlugIn(Scope) = "global",
        data: Batches() = None,
    ):
        super().__init__(sparsity, scope)
        self.warm_up_epochs = warm_up_epochs
        self.phase_epochs = phase_epochs
        self.final_epochs = 3 * phase_epochs if final_epochs is None else final_epochs
        self.data = data
        self.dense_model = None
        self._engine = Engine(criterion)

    @property
    def criterion(self):
        """The criterion for removing weights."""
        return self._engine.criterion

    def is_dense(self, epoch, epochs):
        """Whether all weights are active in an epoch.

        Args:
            epoch: index of the epoch, from 0.
            epochs: number of epochs of the whole training.
        """
        if epoch < self.warm_up_epochs:
            return True
        phase = (epoch - self.warm_up_epochs) // self.phase_epochs
        return phase % 2 == 1 and epoch < epochs - self.final_epochs

    def on_train_begin(self, logs=None):
        """Checks whether the phases fit into the training."""
        epochs = self.params["epochs"]
        needed = self.warm_up_epochs + self.final_epochs
        if epochs < needed:
            raise ValueError(
                f"ACDC got {epochs} epochs, expected at least {needed}: "
                f"warm_up_epochs={self.warm_up_epochs} and final_epochs="
                f"{self.final_epochs}. Train for longer, or pass shorter phases."
            )

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the next phase when it is due."""
        sizes = [weight.kept().size for weight in self._masked]
        is_dense = self._num_kept_now() == sum(sizes)
        if self.is_dense(epoch, self.params["epochs"]):
            if not is_dense:
                self._decompress()
        elif is_dense:
            self._compress()
        self.num_kept = self._num_kept_now()

    def _compress(self):
        found = self._engine.measurement(self.model, self._masked, self.data)()
        scores = [self._engine.score_elements(w, found[w.path]) for w in self._masked]
        self.dense_model = strip(self.model)
        self._assign(list(map(top, scores, self._counts(scores))))

    def _decompress(self):
        shapes = [weight.layout.canonical_shape for weight in self._masked]
        self._assign([np.ones(shape, bool) for shape in shapes])
        for variable in self.model.trainable_variables:
            optimizer = optimizer_of(self.model, [variable])
            forget(optimizer, variable, np.ones(variable.shape, bool))
