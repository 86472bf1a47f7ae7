"""What a member of a space is worth, without making the model or a file of it."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.behaviour import batch_norms
from tfcompress.core.samples import batches
from tfcompress.export.trace import named_outputs
from tfcompress.measuring.scores import in_order, score, tasks_of
from tfcompress.pruning.channels.masks import unit_masks
from tfcompress.pruning.channels.selection import Cost, rounded, selection
from tfcompress.pruning.prune import Engine
from tfcompress.quantization.post_training.folded import matrix_layers
from tfcompress.rewrites.batch_norm import move, statistics
from tfcompress.search import kernels
from tfcompress.search.harms import error_by_spread


class Proxy:
    """A model whose weights are written over for each member, and written back.

    Channels are zeros where they are made, kernels are what is left of them, and the
    statistics of batch normalisation follow for each member: without that the order of
    pruned networks is chance.

    Args:
        model: the model whose loss says what the score is.
        graph: the `ChannelGraph` of a flat model that computes the same; its weights are
            the ones that are written over.
        samples: inputs for the statistics of batch normalisation.
        scored: `(x, y)` to score on.
        criterion: that ranks channels.
        round_to: channels that groups keep a multiple of.

    Source: batch normalisation: Li et al., "EagleEye" (2020), section 3.3.
    """

    def __init__(self, model, graph, samples, scored, criterion="l2", round_to=1):
        self.graph = graph
        self.layers = matrix_layers(graph.flat)
        select = selection(model, graph, Engine(criterion, "filter", "local"))
        self._groups, self._round_to = select.groups, round_to
        self._ranked = select.ranked()
        self._cost = Cost(graph)
        flat = graph.flat
        self._samples = [self._fed(part) for part in batches(flat, samples, 128)]
        self._norms = batch_norms(flat)
        self._statistics = statistics(flat, self._samples)
        self._parts = batches(flat, scored[0], 128)
        named = keras.Model(flat.inputs, named_outputs(flat, flat.output))
        self._function = tf.function(lambda part: named(part, training=False))
        self.exact = self._outputs()
        self._targets = in_order(scored[1], list(self.exact))
        self._tasks = tasks_of(model, self.exact, self._targets)
        self.exact_score = score(self._tasks, self.exact.values(), self._targets)

    def _fed(self, part):
        return keras.tree.pack_sequence_as(self.graph.flat.input, part)

    def keep(self, member):
        """Which units stay, `(number of units,)` booleans."""
        keep = np.ones(self.graph.num_units, bool)
        ratios = member.get("channels", {})
        for group, ranked in zip(self._groups, self._ranked, strict=True):
            ratio = ratios.get(group.name, 0)
            keep[ranked[self.num_kept(group, ratio) :]] = False
        return keep

    def num_kept(self, group, ratio):
        """How many units of a group stay."""
        return rounded((1 - ratio) * group.size, group, self._round_to)

    def macs(self, member):
        """Multiply-accumulates of a sample."""
        counts = self._cost.macs_of_kernels(self.keep(member))
        for path, layer in self.layers.items():
            choice = of_layer(member, path)
            counts[id(layer.kernel)] *= kernels.macs_ratio(layer, choice)
        return sum(counts.values())

    def size_bytes(self, member):
        """About what the kernels take in the file."""
        keep = self.keep(member)
        return sum(
            kernels.size_bytes(layer, of_layer(member, path))
            * self._cost.share(layer.kernel, keep)
            for path, layer in self.layers.items()
        )

    def score(self, member):
        """As `measuring.scores.score`, the higher the better."""
        with self._written(member):
            return score(self._tasks, self._outputs().values(), self._targets)

    def error(self, member):
        """The squared error of the outputs, by their spread."""
        with self._written(member):
            return error_by_spread(self._outputs(), self.exact)

    @contextlib.contextmanager
    def _written(self, member):
        variables = self.graph.flat.variables
        before = [variable.numpy() for variable in variables]
        try:
            self._write(member)
            self._follow()
            yield
        finally:
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)

    def _write(self, member):
        masks = unit_masks(self.graph, self.keep(member))
        for slot in self.graph.trace.slots.values():
            mask = masks.pop(id(slot.variable), None)
            if mask is not None and not mask.all():
                slot.variable.assign(slot.variable.numpy() * mask)
        for path, layer in self.layers.items():
            choice = of_layer(member, path)
            if choice:
                layer.kernel.assign(kernels.changed(layer, choice))

    def _follow(self):
        """Moves the statistics of batch normalisation as its inputs were moved."""
        found = statistics(self.graph.flat, self._samples)
        for norm, exact, now in zip(self._norms, self._statistics, found, strict=True):
            move(norm, exact, now)

    def _outputs(self):
        found = [self._function(part) for part in self._parts]
        return {
            name: np.concatenate([batch[name] for batch in found]).astype(np.float64)
            for name in found[0]
        }


def of_layer(member, path):
    """`{dimension: choice}` of one layer, without its channels."""
    return {
        dimension: choices[path]
        for dimension, choices in member.items()
        if dimension != "channels" and path in choices
    }
