"""The common base of methods that train with an exact number of weights."""

import keras
import numpy as np

from tfcompress.core.nouns import Scope
from tfcompress.core.optimizers import optimizer_of, steps_done
from tfcompress.core.replicas import of_first
from tfcompress.pruning.prune import forget, needed_masks


class MaskedTraining(keras.callbacks.Callback):
    """Keeps an exact number of the masked weights of a model.

    A masked weight is always 0, so that it starts from 0 when it returns, with reset
    optimizer slots.

    Args:
        sparsity: fraction of the masked weights that are zero.
        scope: distributes it among the weights.

    Attributes:
        num_kept: the number of weights that stay, known once training has begun.
    """

    def __init__(self, sparsity, scope):
        super().__init__()
        self.sparsity = sparsity
        self.scope = Scope.get(scope)
        self.num_kept = None

    def set_model(self, model):
        """Finds the masks of the model."""
        super().set_model(model)
        masked = needed_masks(model, type(self).__name__)
        # Biases are few and needed; if only they have masks, they are meant.
        self._masked = [weight for weight in masked if weight.ref.is_kernel] or masked
        for weight in self._masked:
            if weight.treatment.transforms[0] is not weight.mask:
                raise ValueError(
                    f"{type(self).__name__} lets new weights start at 0, but weight "
                    f"{weight.path} passes through {weight.treatment.transforms[0]!r} "
                    "before its mask. Put the mask first in the rule."
                )

    def on_epoch_end(self, epoch, logs=None):
        """Logs the sparsity."""
        if logs is not None:
            total = sum(weight.kept().size for weight in self._masked)
            logs["sparsity"] = 1 - self._num_kept_now() / total

    def _num_kept_now(self):
        return sum(int(np.count_nonzero(weight.kept())) for weight in self._masked)

    def _steps_done(self):
        return steps_done(self.model, [w.treatment.variable for w in self._masked])

    def _counts(self, scores):
        """The number of elements of each weight that stay."""
        shapes = [weight.layout.canonical_shape for weight in self._masked]
        return self.scope(scores, shapes, self.sparsity)

    def _assign(self, masks):
        """Sets canonical masks; elements that return are 0, with reset optimizer slots."""
        for weight, mask in zip(self._masked, masks, strict=True):
            variable, kept = weight.treatment.variable, weight.kept()
            keep = weight.layout.from_canonical(mask)
            keep = of_first(self.model.distribute_strategy, keep)
            value = variable.numpy()
            variable.assign(np.where(keep & kept, value, np.zeros((), value.dtype)))
            weight.mask.mask.assign(keep)
            forget(optimizer_of(self.model, [variable]), variable, keep != kept)
            weight.treatment.refresh(after=weight.mask)
