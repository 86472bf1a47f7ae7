"""Weight decay of whole units of coupled channels."""

import keras
import numpy as np

from tfcompress.pruning.channels.graph import followed
from tfcompress.pruning.channels.selection import free_groups, makers
from tfcompress.pruning.penalties.each_step import EachStep, pulled
from tfcompress.pruning.prune import kernels


class UnitDecay(EachStep):
    """The common base of callbacks that decay units of coupled channels.

    `w ← w / (1 + η λ_w)` after each step with learning rate `η`. `λ_w` of a weight is
    the sum over the units that it belongs to: the one that it produces and the one that
    it reads, so that the whole unit decays and nothing takes over for a part of it.
    """

    ignore = ()

    def set_model(self, model):
        """Finds the groups of channels."""
        super().set_model(model)
        self._graph, self._variables = followed(model)
        self._groups = free_groups(self._graph, self.ignore)
        if not self._groups:
            raise ValueError(
                f"{type(self).__name__} found no group of channels in {model.name!r} "
                "that can be cut: expected a model in which tfc.channel_groups finds some. "
                "Does ignore= cover all of it?"
            )
        self._shares = {
            key: keras.Variable(np.zeros(share.shape, "float32"))
            for key, share in self._spread(np.zeros(self._graph.num_units)).items()
        }

    def _moves(self):
        """The decay of each weight of a unit."""
        return [
            (self._variables[key], self._decay(share))
            for key, share in self._shares.items()
        ]

    def _decay(self, share):
        return lambda weight, learning_rate, step: pulled(
            weight, learning_rate * self._factor(step) * share
        )

    def _factor(self, step):
        """The factor of the shares of all units, at an iteration."""
        raise NotImplementedError

    def _assign(self, shares):
        """Sets how much each unit decays.

        Args:
            shares: `(number of units,)`, multiplied by `_factor`.
        """
        for key, share in self._spread(np.asarray(shares, "float32")).items():
            self._shares[key].assign(share)

    def _slots(self):
        """The locations of units in weights that the model trains."""
        return [
            slot
            for slot in self._graph.trace.slots.values()
            if id(slot.variable) in self._variables
            and self._variables[id(slot.variable)].trainable
        ]

    def _spread(self, shares):
        """`{id(variable of the copy): array}` that broadcasts to the variable."""
        found = {}
        for slot in self._slots():
            shape = [1] * len(slot.variable.shape)
            shape[slot.axis] = -1
            share = shares[self._graph.units(slot.ids)].reshape(shape)
            key = id(slot.variable)
            found[key] = found[key] + share if key in found else share
        return found

    def _prunables(self):
        """`{id(kernel of the copy): Prunable}` of the kernels that produce channels."""
        known = {id(weight.ref.variable): weight for weight in kernels(self.model)}
        return {
            id(slot.variable): known[id(self._variables[id(slot.variable)])]
            for slot in makers(self._graph, self._groups)
        }
