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
    """Drops some of the weights of a sparse model now and then, and grows as many.

    The masks are drawn at random when training begins, unless there are as many weights
    already as should stay, as in a training that is resumed. From then on exactly so many
    are there after every update.

    Gradients and momenta by which weights come are those of the training batches
    themselves, of masked weights too (`DenseGradient`).

    Args:
        sparsity: fraction of the masked weights that are zero, in [0, 1).
        drop: a `Criterion`: the lowest scores go.
        grow: a `Criterion`: the highest scores come; None for random ones.
        fraction: of the weights that stay, how many are exchanged.
        frequency: optimizer steps between updates; None for one after each epoch.
        end_step: the optimizer step from which masks stay; None for what the method says
            of a training of known length.
        scope: shares the sparsity out between weights.
        data: batches over which criteria gather other signals than those.
        seed: of all that is random.
    """

    # What may come: also what has just gone?
    may_return = True
    # Signals that the method itself needs.
    needs = frozenset()
    # The part of the training in which masks change; None for all but the last epoch.
    changing_part = None
    # Whether the fraction goes to 0 along half a cosine.
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
        """By what weights go."""
        return self._drop.criterion

    @property
    def grow(self):
        """By what weights come."""
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
        # The one that was traced earlier does not look.
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
        """Forgets where the last training stood."""
        self._count.begin(None)

    def on_epoch_begin(self, epoch, logs=None):
        """Draws the masks, after all restoring."""
        if self._count.read is not None:
            return
        step = self._steps_done()
        check_same_step(self.model.distribute_strategy, step)
        self._end = self._find_end(step, epoch)
        self._begin(step)

    def _find_end(self, step, epoch):
        """The step from which masks stay; None where updates follow epochs."""
        if self.end_step is not None or self.frequency is None:
            return self.end_step
        per_epoch = self.params.get("steps") or 0
        if not per_epoch:
            raise ValueError(
                f"{type(self).__name__} must know when to stop, but the data do not say "
                "how many batches they have. Pass end_step=, in optimizer steps."
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
        """Whether the masks are as good as those drawn, because the training goes on."""
        return self._num_kept_now() == sum(map(np.count_nonzero, masks))

    def _draw(self, weight, step):
        """Random scores of a weight, in canonical form."""
        signals = Signals(ref=weight.ref, step=step)
        return Random(self.seed)(np.empty(weight.layout.canonical_shape), signals)

    def _drawn(self, scores):
        """Canonical masks to begin with, of random scores."""
        return list(map(top, scores, self._counts(scores)))

    def on_train_batch_begin(self, batch, logs=None):
        """Looks at gradients if it will be time."""
        self._will_be_due = self._is_due(self._count.add_batch(self.model))
        if self._seen and self.frequency is not None:
            self._want(self._will_be_due)

    def _want(self, is_wanted):
        if is_wanted != self._wants:
            self._wants = is_wanted
            self._is_wanted.assign(is_wanted)

    def on_train_batch_end(self, batch, logs=None):
        """Exchanges weights if it is time."""
        if self._will_be_due:
            self.update(self._steps_done())

    def _is_due(self, step):
        if self.frequency is None or step >= self._end:
            return False
        return step // self.frequency > self._count.read // self.frequency

    def on_epoch_end(self, epoch, logs=None):
        """Exchanges weights where updates follow epochs; logs the sparsity."""
        epochs = self.params.get("epochs", 0)
        if self.frequency is None and epoch + 1 < epochs:
            step = self._steps_done()
            if self.end_step is None or step < self.end_step:
                self._exchange(step, (epoch + 1) / epochs)
        super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs=None):
        """Looks at gradients no more."""
        if not self._seen:
            return
        for weight in self._masked:
            weight.mask.watch = None
        self._seen = {}
        self.model.train_function = None

    def update(self, step):
        """Exchanges weights if it is time at `step`; for custom training loops.

        The first call draws the masks. Make it before the first step, and before the
        step is traced.

        Args:
            step: optimizer iterations so far.

        Raises:
            ValueError: if it is not said when it is time.
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
        """How many of each weight go."""
        return [rounded(fraction * np.count_nonzero(mask)) for mask in masks]

    def _num_grown(self, masks, gone, signals):
        """How many of each weight come."""
        return gone
