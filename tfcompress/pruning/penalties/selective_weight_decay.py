"""Weight decay for the weights to remove."""

import math

import keras
import numpy as np

from tfcompress.core import nouns
from tfcompress.core.kinds import Integer, Number, PlugIn, checked
from tfcompress.core.nouns import Scope
from tfcompress.core.optimizers import steps_done
from tfcompress.core.walk import weight_refs
from tfcompress.pruning.penalties.each_step import EachStep, pulled
from tfcompress.pruning.penalties.largest import largest
from tfcompress.pruning.prune import (
    SPARSITY,
    Engine,
    by_rule,
    masked_weights,
    unmasked,
)


class SelectiveWeightDecay(EachStep):
    """Drives the weights below the target sparsity to zero with increasing strength.

    `w ← w / (1 + η weight_decay a(t))` after each step with the learning rate `η`, for
    those weights that would be pruned now;
    `a(t) = minimum (maximum / minimum)^((t - begin_step) / (end_step - begin_step))`.
    These weights are chosen again regularly, so that weights can still change places,
    and in the end they are so small that cutting them changes nothing. They are cut
    when training ends: with masks if the model has them (`tfc.transforms.Mask`),
    otherwise they are set to zero.

    The decay is decoupled from the gradients: added to the loss, as in the paper, a
    step would diverge once `η weight_decay a` is near 1. Configure the paper's plain
    weight decay in the optimizer.

    Which weights are cut is decided while `a` grows through a few powers of ten. In
    short trainings `tfc.callbacks.Pruning`, which removes them gradually, does better.

    Args:
        sparsity: fraction of the weights to remove in the end, in [0, 1); or
            `{pattern: fraction}` as in `tfc.prune`.
        weight_decay: the decay that `a` multiplies. Its step is `η weight_decay a`, which
            should reach about 1e-2 while the learning rate is still high: 5e-4 suits SGD
            at a rate of 0.1; Adam at 1e-3 needs 1000 times as much.
        minimum: minimum of `a`.
        maximum: maximum of `a`.
        pattern: a `tfc.patterns` object or name: which weights are cut together.
        scope: a `tfc.scopes` object or name.
        begin_step: optimizer iteration at which it starts.
        end_step: optimizer iteration from which `a` is at its maximum; None for the end
            of the training.
        frequency: optimizer iterations between choices; the paper uses 1.

    Raises:
        ValueError: if an argument is out of range, a rule matches nothing, or the
            length of the training is unknown and there is no `end_step`.

    Source: SWD: Tessier et al., "Rethinking Weight Decay for Efficient Neural Network
    Pruning" (2022), section 3.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model.compile(keras.optimizers.SGD(0.1), "mse")
        >>> x, y = np.ones((64, 8)), np.ones((64, 4))
        >>> decay = tfc.callbacks.SelectiveWeightDecay(0.75)
        >>> _ = model.fit(x, y, epochs=5, batch_size=4, verbose=0, callbacks=[decay])
        >>> tfc.report(model).sparsity
        0.75
    """

    @checked
    def __init__(
        self,
        sparsity: SPARSITY,
        weight_decay: Number(above=0) = 5e-4,
        minimum: Number(above=0) = 0.1,
        maximum: Number(above=0) = 1e5,
        pattern: PlugIn(nouns.Pattern) = "weight",
        scope: PlugIn(Scope) = "global",
        begin_step: Integer(0) = 0,
        end_step: Integer(1) = None,
        frequency: Integer(1) = 20,
    ):
        super().__init__()
        if maximum < minimum or (end_step is not None and end_step <= begin_step):
            raise ValueError(
                f"SelectiveWeightDecay: got minimum={minimum}, maximum={maximum}, "
                f"begin_step={begin_step} and end_step={end_step}: expected that neither "
                "range ends below its beginning."
            )
        self.sparsity = sparsity
        self.weight_decay = weight_decay
        self.minimum, self.maximum = minimum, maximum
        self.engine = Engine("magnitude", pattern, scope)
        self.begin_step, self.end_step = begin_step, end_step
        self.frequency = frequency

    def set_model(self, model):
        """Finds the weights that can be cut."""
        super().set_model(model)
        weights = masked_weights(model) or [
            unmasked(ref) for ref in weight_refs(model) if ref.is_kernel
        ]
        if not weights:
            raise ValueError(
                f"SelectiveWeightDecay found no kernel in model {model.name!r}: expected "
                "layers with kernels."
            )
        self._parts = by_rule(self.sparsity, weights)
        self._going = [
            [keras.Variable(np.zeros(w.ref.variable.shape, "float32")) for w in part]
            for _, part in self._parts
        ]
        self._last_step = keras.Variable(1.0)

    def _moves(self):
        """The decay of each weight."""
        return [
            (weight.ref.variable, _Decay(self, going))
            for (_, part), of_part in zip(self._parts, self._going, strict=True)
            for weight, going in zip(part, of_part, strict=True)
        ]

    def _factor(self, step):
        """`weight_decay a` at an iteration."""
        begin = float(self.begin_step)
        share = (keras.ops.cast(step, "float32") - begin) / (self._last_step - begin)
        share = keras.ops.clip(share, 0.0, 1.0)
        growth = math.log(self.maximum / self.minimum)
        factor = self.minimum * keras.ops.exp(growth * share)
        return self.weight_decay * keras.ops.where(step < self.begin_step, 0.0, factor)

    def on_epoch_begin(self, epoch, logs=None):
        """Determines the length of the training, and chooses weights."""
        if self._batches is not None:
            return
        self._batches = 0
        steps = (self.params.get("epochs", 0) - epoch) * (self.params.get("steps") or 0)
        trained = [variable for variable, _ in self._moves()]
        last = self.end_step or steps_done(self.model, trained) + steps
        if last <= self.begin_step:
            raise ValueError(
                f"SelectiveWeightDecay: training ends at iteration {last}, as far as "
                f"is known, but begin_step is {self.begin_step}: expected a longer "
                "training. If the length of the data is unknown, pass end_step=."
            )
        self._last_step.assign(last)
        self._choose()

    def on_train_begin(self, logs=None):
        """Starts the decay."""
        super().on_train_begin(logs)
        self._batches = None

    def on_train_batch_end(self, batch, logs=None):
        """Chooses weights again every `frequency` steps."""
        self._batches += self.model.steps_per_execution
        if self._batches >= self.frequency:
            self._batches = 0
            self._choose()

    def on_train_end(self, logs=None):
        """Cuts the chosen weights."""
        super().on_train_end(logs)
        self.engine.prune(self.model, self._parts)

    def _choose(self):
        """Chooses the weights that decay now."""
        pattern, scope = self.engine.pattern, self.engine.scope
        for (sparsity, part), of_part in zip(self._parts, self._going, strict=True):
            # As the optimizer updates them, without masks.
            values = [weight.ref.variable.numpy() for weight in part]
            layouts = [weight.layout for weight in part]
            masks = largest(values, layouts, sparsity, pattern, scope)
            for mask, going in zip(masks, of_part, strict=True):
                going.assign(~mask)


class _Decay:
    """Decays the weights to remove."""

    def __init__(self, owner, going):
        self.owner, self.going = owner, going

    def __call__(self, weight, learning_rate, step):
        return pulled(weight, learning_rate * self.owner._factor(step) * self.going)
