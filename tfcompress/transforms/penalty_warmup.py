"""Penalties that start late."""

import keras

from tfcompress.core.compressed import treatments
from tfcompress.core.errors import refuse
from tfcompress.core.kinds import Integer, checked
from tfcompress.core.optimizers import steps_done
from tfcompress.transforms.drawn import Drawn


class PenaltyWarmup(keras.callbacks.Callback):
    """Makes the penalties of learned noise and gates start late and grow.

    The penalties of `GaussianWeights`, `GroupNormalJeffreys`, `HardConcrete`, `LogNormal`
    and `SparseVariationalDropout` are multiplied by

        clip((t - begin_step) / (end_step - begin_step), 0, 1)

    at optimizer iteration `t`. Without it, they apply from the first step on, and a
    network that has not learned anything yet may lose all of its weights.

    Args:
        begin_step: number of optimizer iterations without a penalty.
        end_step: optimizer iteration from which it applies in full.

    Raises:
        ValueError: if `end_step` is not after `begin_step`, or the model has no such
            transform.

    Source: Sønderby et al., "Ladder Variational Autoencoders" (2016), section 2.3
    (warm-up); Molchanov et al., "Variational Dropout Sparsifies Deep Neural Networks"
    (2017), section 5.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model = tfc.compress(model, {".*": "hard_concrete"})
        >>> model.compile("sgd", "mse")
        >>> warmup = tfc.callbacks.PenaltyWarmup(begin_step=2, end_step=6)
        >>> x, y = np.ones((5, 8)), np.ones((5, 4))
        >>> _ = model.fit(x, y, batch_size=1, verbose=0, callbacks=[warmup])
        >>> model.layers[0].treatments[0].transforms[0].penalty_factor.numpy()
        np.float32(0.5)
    """

    @checked
    def __init__(self, begin_step: Integer(0), end_step: Integer(1)):
        super().__init__()
        if end_step <= begin_step:
            refuse(
                "PenaltyWarmup(end_step)",
                end_step,
                f"a step after begin_step={begin_step}",
                "Steps are optimizer iterations: epochs * batches per epoch.",
            )
        self.begin_step = begin_step
        self.end_step = end_step

    def set_model(self, model):
        """Finds the penalties."""
        super().set_model(model)
        self._drawn = [
            transform
            for _, treatment in treatments(model)
            for transform in treatment.transforms
            if isinstance(transform, Drawn)
        ]
        if not self._drawn:
            raise ValueError(
                f"PenaltyWarmup found no learned noise or gates in model {model.name!r}. "
                "Add them first, such as tfc.compress(model, {'.*': 'hard_concrete'})."
            )
        self._factor = None

    def on_train_batch_begin(self, batch, logs=None):
        """Updates the factors."""
        if self._factor != 1.0:
            self.update(steps_done(self.model, self.model.trainable_variables))

    def update(self, step):
        """Sets the factors for a step; for custom training loops.

        Args:
            step: the number of optimizer iterations so far.
        """
        progress = (step - self.begin_step) / (self.end_step - self.begin_step)
        factor = min(max(progress, 0.0), 1.0)
        if factor == self._factor:
            return
        self._factor = factor
        for transform in self._drawn:
            transform.penalty_factor.assign(factor)
