"""Transforms that start while a model trains."""

import keras

from tfcompress.core.compressed import treatments
from tfcompress.core.kinds import Integer, checked
from tfcompress.core.optimizers import steps_done


class Staging(keras.callbacks.Callback):
    """Starts coarse transforms at a given step.

    If a transform that shares values or has very few (`Codebook`, `Binary`, `Ternary`,
    `TrainedTernary`, grids of 2 or 3 bits) follows another one in a list, the weight
    bypasses it until `begin_step`; then it starts from the current weight. A single
    training thus does what otherwise takes two. After masks, `tfc.callbacks.Pruning`
    does this automatically once weights have recovered from the end of its schedule;
    this callback takes precedence.

    Args:
        begin_step: optimizer iteration at which they start. At the end of training they
            start in any case.

    Raises:
        ValueError: if `begin_step` is negative, or the model has no such transform.

    Source: Zhuang et al., "Towards Effective Low-bitwidth Convolutional Neural Networks"
    (2018), two-stage optimization.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model = tfc.compress(model, {".*": ["uniform", "binary"]})
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((8, 8)), np.ones((8, 4))
        >>> staging = tfc.callbacks.Staging(begin_step=6)
        >>> _ = model.fit(x, y, batch_size=1, verbose=0, callbacks=[staging])
        >>> len(np.unique(tfc.strip(model).layers[0].kernel))
        2
    """

    @checked
    def __init__(self, begin_step: Integer(0)):
        super().__init__()
        self._has_begun = None
        self.begin_step = begin_step

    def set_model(self, model):
        """Finds the transforms that can wait."""
        super().set_model(model)
        self._waiting = [t for _, t in treatments(model) if t.waiting is not None]
        if not self._waiting:
            raise ValueError(
                f"Staging found no transform that can wait in model {model.name!r}: no "
                "Codebook, Binary, Ternary or other coarse transform follows another "
                "transform."
            )

    def on_train_begin(self, logs=None):
        """Discards the last training's step; makes other callbacks skip the transforms."""
        self._has_begun = None
        self._set_staged(True)

    def on_train_batch_begin(self, batch, logs=None):
        """Starts the transforms when the step is reached."""
        if not self._has_begun:
            trained = [treatment.variable for treatment in self._waiting]
            self.update(steps_done(self.model, trained))

    def on_train_end(self, logs=None):
        """Starts the transforms in any case."""
        self.update(self.begin_step)
        self._set_staged(False)

    def _set_staged(self, is_staged):
        for treatment in self._waiting:
            treatment.is_staged = is_staged

    def update(self, step):
        """Makes the transforms wait or start; for custom training loops.

        Args:
            step: the number of optimizer iterations so far.
        """
        has_begun = step >= self.begin_step
        if has_begun == self._has_begun:
            return
        self._has_begun = has_begun
        for treatment in self._waiting:
            if has_begun:
                treatment.begin()
            else:
                treatment.hold()
