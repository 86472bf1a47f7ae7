"""The setup shared by a search for a ticket and its controls."""

import dataclasses

import keras

from tfcompress.core.agreement import copy_model
from tfcompress.pruning.prune import Engine
from tfcompress.pruning.tickets.state import restore
from tfcompress.pruning.tickets.training import Training


@dataclasses.dataclass(frozen=True)
class Setup:
    """The network, how it is trained, and how it is pruned.

    Attributes:
        original: the user's model.
        template: a copy of it with masks, which is never trained.
        training: a `Training`.
        engine: an `Engine`.
        data: batches for the signals of its criterion, or None.
    """

    original: keras.Model
    template: keras.Model
    training: Training
    engine: Engine
    data: object = None

    def model(self, values, masks):
        """A new model with masks, and with values as returned by `snapshot`."""
        model = copy_model(self.template)
        restore(model, values, masks)
        return model

    def with_loss(self, model):
        """The model with the loss: the original if compiled, otherwise the trained one."""
        return self.original if self.original.compiled else model
