"""Reduces bits step by step during training."""

import keras

from tfcompress.core.compressed import treatments
from tfcompress.core.kinds import Instance, Number, PlugIn, checked
from tfcompress.core.nouns import Schedule
from tfcompress.core.optimizers import steps_done
from tfcompress.transforms.k_bit import KBit


class BitAnnealing(keras.callbacks.Callback):
    """Changes the bits of `Uniform` and `LearnedStep` weights during training.

    A stage begins whenever the schedule returns a different number of bits: all such
    weights move to the new grid (learned steps are initialised again), and the learning
    rate is reset if one is given. The number of levels is a variable of the model, so
    nothing is recompiled; saved files and exports have the bits of the last stage.

    Args:
        schedule: a `tfc.schedules` object whose values are bits, 2 to 16.
        learning_rate: None keeps the optimizer's; a number is set at the beginning of
            each stage, whatever other callbacks have set; a
            `keras.optimizers.schedules.LearningRateSchedule` is followed from the
            beginning of each stage.

    Raises:
        ValueError: if the model has no weight with such a transform.
        TypeError: from Keras, if `learning_rate` is given and the optimizer has its own
            schedule: compile with a number.

    Source: Zhuang et al., "Towards Effective Low-bitwidth Convolutional Neural Networks"
    (2018), progressive quantization.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model = tfc.compress(model, {".*": tfc.transforms.Uniform(bits=8)})
        >>> bits = tfc.schedules.Piecewise(boundaries=[2, 4], values=[8, 4, 2])
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((6, 8)), np.ones((6, 4))
        >>> annealing = tfc.callbacks.BitAnnealing(bits)
        >>> _ = model.fit(x, y, batch_size=1, verbose=0, callbacks=[annealing])
        >>> model.layers[0].treatments[0].transforms
        [Uniform(bits=2)]
    """

    @checked
    def __init__(
        self,
        schedule: PlugIn(Schedule),
        learning_rate: Number(above=0)
        | Instance(
            keras.optimizers.schedules.LearningRateSchedule,
            "a keras.optimizers.schedules object",
        ) = None,
    ):
        super().__init__()
        self.schedule = schedule
        self.learning_rate = learning_rate

    def set_model(self, model):
        """Finds the weights whose bits can change."""
        super().set_model(model)
        self._grids = [
            (treatment, transform)
            for _, treatment in treatments(model)
            for transform in treatment.transforms
            if isinstance(transform, KBit)
        ]
        if not self._grids:
            raise ValueError(
                f"BitAnnealing found no Uniform or LearnedStep in model {model.name!r}. "
                "Add them first: tfc.compress(model, {'.*': tfc.transforms.Uniform(8)})."
            )

    def on_train_begin(self, logs=None):
        """Restarts the schedule."""
        self._previous_step = self._begin_step = -1

    def on_train_batch_begin(self, batch, logs=None):
        """Begins the stages that are due."""
        # Not when training begins or a batch ends: state may still be restored after that.
        trained = [treatment.variable for treatment, _ in self._grids]
        self.update(steps_done(self.model, trained))

    def on_epoch_end(self, epoch, logs=None):
        """Logs the bits."""
        if logs is not None:
            logs["bits"] = self._grids[0][1].bits

    def update(self, step):
        """Changes the bits if the schedule is due at `step`; for custom training loops.

        Args:
            step: optimizer iterations so far.
        """
        previous, self._previous_step = self._previous_step, step
        if self.schedule.due(previous, step):
            self._begin_step = step
            self.change_bits(self.schedule(step))
            if isinstance(self.learning_rate, (int, float)):
                self.model.optimizer.learning_rate = self.learning_rate
        if callable(self.learning_rate):
            rate = self.learning_rate(step - self._begin_step)
            self.model.optimizer.learning_rate = rate

    def change_bits(self, bits):
        """Moves all weights to grids with this number of bits, unless they are there.

        Args:
            bits: 2 to 16.
        """
        for treatment, transform in self._grids:
            if transform.bits != bits:
                transform.change_bits(bits, treatment.bake(upto=transform))
                treatment.refresh(after=transform)
