"""The score and costs of a member of a space, without building its model or file."""

import contextlib
import functools
import itertools
import math

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.agreement import copy_model
from tfcompress.core.behaviour import batch_norms
from tfcompress.core.samples import batches
from tfcompress.export.trace import named_outputs
from tfcompress.measuring.scores import in_order, score, tasks_of
from tfcompress.pruning.channels.graph import ChannelGraph
from tfcompress.pruning.channels.masks import unit_masks
from tfcompress.pruning.channels.reconstruct import fit_readers
from tfcompress.pruning.channels.selection import Cost, places, rounded, selection
from tfcompress.pruning.prune import Engine
from tfcompress.quantization.post_training.folded import matrix_layers
from tfcompress.quantization.post_training.side_by_side import batches_of
from tfcompress.rewrites.batch_norm import move, statistics
from tfcompress.search import kernels
from tfcompress.search.harms import drop_of_score, error_by_spread
from tfcompress.search.hessian import hessian_traces
from tfcompress.search.space import of_layer

_MOST_FITTED = 256
# With all rows, accuracies of pruned ResNet-20s are within 0.3 points on average.
_MOST_ROWS = 2**15
# The measures of `Proxy.harm`.
HARMS = ("output_error", "score", "hessian_trace")


class Proxy:
    """A model whose weights are overwritten for each member and then restored.

    Removed channels are set to zero where they are produced, and the layers that read them
    are fitted to compensate, as in the model that is built from the member; kernels get
    their pruned or rounded values. The statistics of batch normalisation are updated for
    each member: without that, the ranking of pruned networks is random.

    Args:
        model: the model whose loss determines the score.
        graph: the `ChannelGraph` of a flat model that computes the same; its weights are
            the ones that are overwritten.
        samples: inputs for the statistics of batch normalisation; the first 256 are also
            used for fits.
        scored: `(x, y)` to score on.
        criterion: criterion that ranks channels.
        round_to: the number of channels kept in a group is a multiple of this.
        data: batches `(x, y)` for a criterion that needs signals.

    Attributes:
        samples: these inputs, a list of batches in the structure of the model's inputs.
        exact: outputs of the unchanged model for the scored inputs, `{name: array}`.
        tasks: the `Task` of each output.
        exact_score: score of the unchanged model.

    Source: batch normalisation: Li et al., "EagleEye" (2020), section 3.3.
    """

    def __init__(
        self, model, graph, samples, scored, criterion="l2", round_to=1, data=None
    ):
        self.graph, self._model, self._data = graph, model, data
        self.layers = matrix_layers(graph.flat)
        select = selection(model, graph, Engine(criterion, "filter", "local"), data)
        self.groups, self._round_to = select.groups, round_to
        self._ranked = select.ranked()
        self._group_of = np.full(graph.num_units, -1)
        for position, group in enumerate(self.groups):
            self._group_of[group.units] = position
        self._cost, self._sizes = Cost(graph), {}
        flat = graph.flat
        self._exact_graph = ChannelGraph(copy_model(flat))
        self._inputs = samples
        self.samples = [self._fed(part) for part in batches(flat, samples, 128)]
        self._norms = batch_norms(flat)
        self._statistics = statistics(flat, self.samples)
        self._parts = batches(flat, scored[0], 128)
        named = keras.Model(flat.inputs, named_outputs(flat, flat.output))
        # The last batch is smaller.
        self._function = tf.function(
            lambda part: named(part, training=False), reduce_retracing=True
        )
        self.exact = self._outputs()
        self._targets = in_order(scored[1], list(self.exact))
        self.tasks = tasks_of(model, self.exact, self._targets)
        self.exact_score = score(self.tasks, self.exact.values(), self._targets)

    def _fed(self, part):
        return keras.tree.pack_sequence_as(self.graph.flat.input, part)

    def keep(self, member):
        """Which units stay, `(number of units,)` booleans."""
        keep = np.ones(self.graph.num_units, bool)
        ratios = member.get("channels", {})
        for group, ranked in zip(self.groups, self._ranked, strict=True):
            keep[self._gone(group, ranked, ratios.get(group.name, 0))] = False
        return keep

    def _gone(self, group, ranked, ratio):
        """The units removed from a group: the lowest, or those at listed positions."""
        if places(ratio) is None:
            return ranked[self.num_kept(group, ratio) :]
        return group.units[places(ratio)]

    def num_kept(self, group, ratio):
        """How many units of a group stay."""
        count = group.size - math.floor(ratio * group.size + 0.5)
        return rounded(count, group, self._round_to)

    def kernels(self):
        """`[(id(kernel), MACs, units of each axis that is cut)]` of the whole model."""
        everything = np.ones(self.graph.num_units, bool)
        whole = self._cost.macs_of_kernels(everything)
        axes = {}
        for slot in self.graph.trace.slots.values():
            axes.setdefault(id(slot.variable), []).append(self.graph.units(slot.ids))
        return [(kernel, macs, axes.get(kernel, [])) for kernel, macs in whole.items()]

    def count_by_group(self, units):
        """`{position of the group: how many of the units are in it}`; -1 for none."""
        found, counts = np.unique(self._group_of[units], return_counts=True)
        return dict(zip(found.tolist(), counts.tolist(), strict=True))

    def macs(self, member):
        """Multiply-accumulates per sample."""
        return sum(self._macs(member).values())

    def macs_of_layers(self, member):
        """The same as `{path: MACs}`, for layers that multiply by a matrix."""
        counts = self._macs(member)
        return {path: counts[id(layer.kernel)] for path, layer in self.layers.items()}

    def _macs(self, member):
        counts = self._cost.macs_of_kernels(self.keep(member))
        for path, layer in self.layers.items():
            choice = of_layer(member, path)
            counts[id(layer.kernel)] *= kernels.macs_ratio(layer, choice)
        return counts

    def size_bytes(self, member):
        """The approximate bytes of the kernels in the file."""
        return sum(self.sizes_of_layers(member).values())

    def sizes_of_layers(self, member):
        """The same as `{path: bytes}`."""
        shares = self.shares(member)
        return {
            path: self._size(path, tuple(sorted(of_layer(member, path).items())))
            * shares[path]
            for path in self.layers
        }

    def _size(self, path, choice):
        key = path, choice
        if key not in self._sizes:
            self._sizes[key] = kernels.size_bytes(self.layers[path], dict(choice))
        return self._sizes[key]

    def shares(self, member):
        """`{path of a layer: fraction of its kernel left after cutting channels}`."""
        keep = self.keep(member)
        return {
            path: self._cost.share(layer.kernel, keep)
            for path, layer in self.layers.items()
        }

    def sizes(self, path, choices):
        """The approximate bytes of a layer's kernel, an array with one axis per dimension.

        Args:
            path: path of the layer.
            choices: `{dimension: choices}`.
        """
        names = list(choices)
        found = [
            self._size(path, tuple(sorted(zip(names, choice, strict=True))))
            for choice in itertools.product(*choices.values())
        ]
        return np.reshape(found, [len(of_name) for of_name in choices.values()])

    def costs(self, member):
        """Both costs, named as in limits: `{"macs": ..., "kernel_bytes": ...}`."""
        return {"macs": self.macs(member), "kernel_bytes": self.size_bytes(member)}

    def is_within(self, member, limits):
        """Whether the costs of a member are within the limits."""
        counts = {"macs": self.macs, "kernel_bytes": self.size_bytes}
        return all(counts[name](member) <= limit for name, limit in limits.items())

    def score(self, member):
        """The score as in `measuring.scores.score`, the higher the better."""
        with self._written(member):
            return score(self.tasks, self._outputs().values(), self._targets)

    def harm(self, member, sensitivity="output_error"):
        """The harm of a member, at least 0; see `tfc.search.engines.Knapsack`.

        Args:
            member: member of the space.
            sensitivity: one of `HARMS`.
        """
        if sensitivity == "hessian_trace":
            return self._rise(member)
        with self._written(member):
            outputs = self._outputs()
        if sensitivity == "score":
            return drop_of_score(self.tasks, self._targets, outputs, self.exact)
        return error_by_spread(outputs, self.exact)

    def _rise(self, member):
        # Before anything is written: they are those of the unchanged model.
        traces = self._traces
        before = {path: layer.kernel.numpy() for path, layer in self.layers.items()}
        with self._written(member, is_followed=False):
            return sum(
                traces[path]
                * float(np.mean(np.square(layer.kernel.numpy() - before[path])))
                for path, layer in self.layers.items()
            )

    @functools.cached_property
    def _fitted_on(self):
        some = keras.tree.map_structure(lambda a: a[:_MOST_FITTED], self._inputs)
        return batches_of(self._exact_graph.flat, some)

    @functools.cached_property
    def _traces(self):
        """`{path: trace}`."""
        kernels = [layer.kernel for layer in self.layers.values()]
        found = hessian_traces(self._model, kernels, self._data, self.graph.flat)
        return dict(zip(self.layers, found, strict=True))

    @contextlib.contextmanager
    def _written(self, member, is_followed=True):
        variables = self.graph.flat.variables
        before = [variable.numpy() for variable in variables]
        try:
            self._write(member)
            if is_followed:
                self._repair(member)
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

    def _repair(self, member):
        """Fits the layers that read cut channels, and updates batch norm statistics."""
        flat, keep = self.graph.flat, self.keep(member)
        if not keep.all():
            fit_readers(
                self._exact_graph,
                keep,
                flat,
                self._fitted_on,
                is_cut=False,
                most_rows=_MOST_ROWS,
            )
        elif self._norms:
            self._follow()

    def _follow(self):
        """Shifts the statistics of batch normalisation as its inputs have shifted."""
        found = statistics(self.graph.flat, self.samples)
        for norm, exact, now in zip(self._norms, self._statistics, found, strict=True):
            move(norm, exact, now)

    def _outputs(self):
        found = [self._function(part) for part in self._parts]
        return {
            name: np.concatenate([batch[name] for batch in found]).astype(np.float64)
            for name in found[0]
        }
