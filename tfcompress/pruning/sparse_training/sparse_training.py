"""Sparse networks whose connections change while they train."""

import math

import numpy as np
import tensorflow as tf

from tfcompress.core.collect import collect
from tfcompress.core.nouns import Signals, top
from tfcompress.core.optimizers import StepCount, optimizer_of
from tfcompress.core.replicas import check_same_step
from tfcompress.pruning.criteria.random import Random
from tfcompress.pruning.prune import Engine
from tfcompress.pruning.regrow import regrow
from tfcompress.pruning.scopes import rounded
from tfcompress.pruning.sparse_training.dense_gradient import (
    DenseGradient,
    DenseMomentum,
)
from tfcompress.pruning.sparse_training.masked_training import MaskedTraining

_SEEN = frozenset({"gradient", "momentum"})
_BETA = 0.9


class SparseTraining(MaskedTraining):
    """Periodically drops some weights of a sparse model and grows as many.

    The masks are drawn at random when training begins, unless the right number of
    weights is already set, as in resumed training. From then on, the number after every
    update is exactly the same.

    The gradients and momenta used to grow weights are those of the training batches
    themselves, including those of masked weights (`DenseGradient`).

    Args:
        sparsity: fraction of the masked weights that are zero, in [0, 1).
        drop: a `Criterion`; the lowest scores are dropped.
        grow: a `Criterion`; the highest scores are grown; None for random ones.
        fraction: the fraction of the remaining weights that is exchanged.
        frequency: optimizer steps between updates; None for one after each epoch.
        end_step: the optimizer step from which masks are fixed; None for the method's
            default in a training of known length.
        scope: distributes the sparsity among weights.
        data: batches over which criteria collect other signals.
        seed: seed of all random choices.
    """

    # Whether elements that were just dropped may be grown.
    may_return = True
    # Signals that the method itself needs.
    needs = frozenset()
    # The fraction of the training in which masks change; None for all but the last epoch.
    changing_part = None
    # Whether the fraction decays to 0 along half a cosine.
    is_annealed = False

    def __init__(
        self, sparsity, drop, grow, fraction, frequency, end_step, scope, data, seed
    ):
        super().__init__(sparsity, scope)
        self.fraction = fraction
        self.frequency = frequency
        self.end_step = end_step
        self.data = data
        self.seed = seed
        self._drop = Engine(drop)
        self._grow = Engine(Random(seed) if grow is None else grow)
        self._seen = {}
        self._is_wanted, self._wants = None, True
        self._count = StepCount()
        self._end = end_step

    @property
    def drop(self):
        """The criterion for dropping weights."""
        return self._drop.criterion

    @property
    def grow(self):
        """The criterion for growing weights."""
        return self._grow.criterion

    def set_model(self, model):
        """Finds the masks of the model."""
        super().set_model(model)
        if self._needs & _SEEN:
            self._watch()

    @property
    def _needs(self):
        return self.needs | self.drop.needs | self.grow.needs

    def _watch(self):
        with self.model.distribute_strategy.scope():
            self._is_wanted, self._wants = tf.Variable(True, trainable=False), True
            for weight in self._masked:
                seen = self._seeing(weight.treatment.variable)
                self._seen[weight.path] = weight.mask.watch = seen
        # A function traced earlier does not capture gradients.
        self.model.train_function = None

    def _seeing(self, variable):
        shape = tuple(variable.shape)
        if "momentum" not in self._needs:
            return DenseGradient(shape, variable.dtype, self._is_wanted)
        optimizer = optimizer_of(self.model, [variable])
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        beta = getattr(optimizer, "beta_1", getattr(optimizer, "momentum", 0)) or _BETA
        beta_2 = getattr(optimizer, "beta_2", None)
        return DenseMomentum(shape, variable.dtype, beta, beta_2)

    def on_train_begin(self, logs=None):
        """Discards the step of the previous training."""
        self._count.begin(None)

    def on_epoch_begin(self, epoch, logs=None):
        """Draws the masks, once all state is restored."""
        if self._count.read is not None:
            return
        step = self._steps_done()
        check_same_step(self.model.distribute_strategy, step)
        self._end = self._find_end(step, epoch)
        self._begin(step)

    def _find_end(self, step, epoch):
        """The step from which masks are fixed; None if updates follow epochs."""
        if self.end_step is not None or self.frequency is None:
            return self.end_step
        per_epoch = self.params.get("steps") or 0
        if not per_epoch:
            raise ValueError(
                f"{type(self).__name__} must know when to stop, but the number of "
                "batches in the data is unknown. Pass end_step=, in optimizer steps."
            )
        total = step + (self.params["epochs"] - epoch) * per_epoch
        if self.changing_part is None:
            return total - per_epoch
        return math.ceil(self.changing_part * total)

    def _begin(self, step):
        self._count.begin(step)
        masks = self._drawn([self._draw(weight, step) for weight in self._masked])
        if not self._is_ready(masks):
            self._assign(masks)
        self.num_kept = self._num_kept_now()

    def _is_ready(self, masks):
        """Whether the masks can be kept, because training continues."""
        return self._num_kept_now() == sum(map(np.count_nonzero, masks))

    def _draw(self, weight, step):
        """Random scores of a weight, in canonical form."""
        signals = Signals(ref=weight.ref, step=step)
        return Random(self.seed)(np.empty(weight.layout.canonical_shape), signals)

    def _drawn(self, scores):
        """Initial canonical masks from random scores."""
        return list(map(top, scores, self._counts(scores)))

    def on_train_batch_begin(self, batch, logs=None):
        """Captures gradients if an update is due after this batch."""
        self._will_be_due = self._is_due(self._count.add_batch(self.model))
        if self._seen and self.frequency is not None:
            self._want(self._will_be_due)

    def _want(self, is_wanted):
        if is_wanted != self._wants:
            self._wants = is_wanted
            self._is_wanted.assign(is_wanted)

    def on_train_batch_end(self, batch, logs=None):
        """Exchanges weights if an update is due."""
        if self._will_be_due:
            self.update(self._steps_done())

    def _is_due(self, step):
        if self.frequency is None or step >= self._end:
            return False
        return step // self.frequency > self._count.read // self.frequency

    def on_epoch_end(self, epoch, logs=None):
        """Exchanges weights if updates follow epochs; logs the sparsity."""
        epochs = self.params.get("epochs", 0)
        if self.frequency is None and epoch + 1 < epochs:
            step = self._steps_done()
            if self.end_step is None or step < self.end_step:
                self._exchange(step, (epoch + 1) / epochs)
        super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs=None):
        """Stops capturing gradients."""
        if not self._seen:
            return
        for weight in self._masked:
            weight.mask.watch = None
        self._seen = {}
        self.model.train_function = None

    def update(self, step):
        """Exchanges weights if an update is due at `step`; for custom training loops.

        The first call draws the masks. Call it before the first training step, and
        before that is traced.

        Args:
            step: the number of optimizer iterations so far.

        Raises:
            ValueError: if `frequency` or `end_step` is not set.
        """
        if self.frequency is None or self._end is None:
            raise ValueError(
                f"{type(self).__name__} does not know the training loop: pass frequency= "
                "and end_step=, in optimizer steps."
            )
        if self._count.read is None:
            self._begin(step)
        is_due = self._is_due(step)
        self._count.begin(step)
        if is_due:
            self._exchange(step, step / self._end)

    def _exchange(self, step, progress):
        annealed = (1 + math.cos(math.pi * progress)) / 2 if self.is_annealed else 1
        signals = self._signals(step)
        pairs = list(zip(self._masked, signals, strict=True))
        masks = [weight.layout.to_canonical(weight.kept()) for weight in self._masked]
        self._assign(
            self._exchanged(
                masks,
                [self._drop.score_elements(*pair) for pair in pairs],
                [self._grow.score_elements(*pair) for pair in pairs],
                signals,
                self.fraction * annealed,
            )
        )

    def _signals(self, step):
        """`Signals` of each weight."""
        found = collect(self.model, self._masked, self.data, self._needs - _SEEN)
        for weight, signals in zip(self._masked, found, strict=True):
            signals.step = step
            for name in self._needs & _SEEN:
                value = getattr(self._seen[weight.path], name)()
                signals[name] = weight.layout.to_canonical(value)
        return found

    def _exchanged(self, masks, drop_scores, grow_scores, signals, fraction):
        """New canonical masks."""
        gone = self._num_dropped(masks, drop_scores, signals, fraction)
        come = self._num_grown(masks, gone, signals)
        return [
            regrow(*arrays, may_return=self.may_return)
            for arrays in zip(masks, drop_scores, grow_scores, gone, come, strict=True)
        ]

    def _num_dropped(self, masks, scores, signals, fraction):
        """The number of elements of each weight to drop."""
        return [rounded(fraction * np.count_nonzero(mask)) for mask in masks]

    def _num_grown(self, masks, gone, signals):
        """The number of elements of each weight to grow."""
        return gone
