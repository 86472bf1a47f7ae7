"""Which units stay: scores, counts, and the remaining cost."""

import math

import numpy as np

from tfcompress.core.macs import macs
from tfcompress.core.nouns import top
from tfcompress.core.rules import Rule, check_used, last_match
from tfcompress.core.walk import leaf_refs, leaves, path_of, weight_refs
from tfcompress.pruning.channels.masks import unit_masks
from tfcompress.pruning.prune import by_rule, unmasked
from tfcompress.runtime.channel_tile import channel_tile

_HIGHEST_RATIO = 0.999
_SEARCH_STEPS = 20


def free_groups(graph, ignore=()):
    """The groups that may be cut.

    Args:
        graph: the `ChannelGraph`.
        ignore: patterns of layers whose outputs are not cut, as in the rules of
            `tfc.compress`.

    Raises:
        ValueError: if a pattern matches nothing.
    """
    rules, refs = [Rule(pattern) for pattern in ignore], weight_refs(graph.flat)
    ignored = {id(ref.variable) for ref in refs if last_match(rules, ref)}
    check_used(rules, refs)
    kept = {
        unit
        for slot in graph.trace.slots.values()
        if slot.role != "input" and id(slot.variable) in ignored
        for unit in graph.units(slot.ids).tolist()
    }
    return [
        g for g in graph.groups if not g.whole and kept.isdisjoint(g.units.tolist())
    ]


def makers(graph, groups):
    """The slots of kernels that produce the channels of groups."""
    wanted = np.zeros(graph.num_units, bool)
    for group in groups:
        wanted[group.units] = True
    return [
        slot
        for slot in graph.trace.slots.values()
        if slot.role == "output"
        and len(slot.variable.shape) > 1
        and wanted[graph.units(slot.ids)].any()
    ]


def selection(model, graph, engine, data=None, ignore=(), round_to=1):
    """The `Selection` of all groups of a model that may be cut.

    Args:
        model: the model of the graph, compiled if the criterion needs gradients.
        graph: the `ChannelGraph`.
        engine: the `Engine` that scores units and distributes the sparsity.
        data: batches for the signals of the criterion.
        ignore: patterns of layers whose outputs are not cut.
        round_to: as in `Selection`.
    """
    groups = free_groups(graph, ignore)
    wanted = {id(slot.variable) for slot in makers(graph, groups)}
    weights = {
        id(ref.variable): unmasked(ref)
        for ref in weight_refs(graph.flat)
        if id(ref.variable) in wanted
    }
    measure = engine.measurement(model, list(weights.values()), data, graph.flat)
    return Selection(graph, groups, weights, engine, measure, round_to)


class Selection:
    """Determines which units of a model stay at a given sparsity.

    The score of a unit is `Criterion.reduce` over all weights that produce its channels.

    Args:
        graph: the `ChannelGraph`.
        groups: the groups that may be cut.
        weights: `{id(kernel): Prunable}` of the kernels that produce their channels.
        engine: the `Engine` that scores them and distributes the sparsity among groups.
        measure: a function that measures their signals, from `Engine.measurement`.
        round_to: groups keep a multiple of this many channels, if they have that many.

    Attributes:
        groups: list of `ChannelGroup`.
        weights: `{id(kernel): Prunable}`.
        signals: `{path: Signals}` of the current weights.
    """

    def __init__(self, graph, groups, weights, engine, measure, round_to=1):
        self._graph, self.groups, self.weights = graph, groups, weights
        self._engine, self._measure, self._round_to = engine, measure, round_to
        self.signals = measure()
        self._first_scores = self._scores(self.signals)
        self._shapes = [self._shape(group) for group in groups]

    def by_rule(self, ratios):
        """`[(ratio, groups)]`, one for each rule that covers groups.

        A group gets the ratio of any of the layers that produce its channels; a layer
        that gives another group its name counts only for that group, if this group's
        own layer is listed.

        Args:
            ratios: one for all, or `{pattern: ratio}`; later rules win.

        Raises:
            ValueError: if a pattern matches nothing, or layers that produce the same
                channels have different ratios.
        """
        if not isinstance(ratios, dict):
            return [(ratios, self.groups)]
        parts = by_rule(ratios, list(self.weights.values()))
        numbers = {w.path: n for n, (_, weights) in enumerate(parts) for w in weights}
        found = [[] for _ in parts]
        for group in self.groups:
            paths = self._speakers(group, numbers)
            given = {path: parts[numbers[path]][0] for path in paths}
            ratios = list(given.values())
            if any(ratio != ratios[0] for ratio in ratios):
                raise ValueError(
                    f"{list(given)} produce the same channels, but have the ratios "
                    f"{ratios}: expected one ratio for all of them."
                )
            if given:
                found[numbers[next(iter(given))]].append(group)
        return [
            (ratio, groups)
            for (ratio, _), groups in zip(parts, found, strict=True)
            if groups
        ]

    def _speakers(self, group, named):
        """Paths of the named weights whose rule applies to a group."""
        paths = [w.path for w in self._makers(group) if w.path in named]
        if not any(_is_in(path, group) for path in paths):
            return paths
        others = [g for g in self.groups if g.name != group.name]
        return [p for p in paths if not any(_is_in(p, other) for other in others)]

    def ranked(self):
        """The units of each group, those with the highest scores first."""
        return [
            group.units[np.argsort(-scores, kind="stable")]
            for group, scores in zip(self.groups, self._first_scores, strict=True)
        ]

    def __call__(self, sparsity):
        """`(number of units,)` booleans, True = keep.

        Args:
            sparsity: fraction to remove from all groups, or `[(fraction, groups)]`,
                where other groups are left whole. For one group it may be the list of
                the indices in it that are removed.
        """
        parts = sparsity if isinstance(sparsity, list) else [(sparsity, self.groups)]
        keep = np.ones(self._graph.num_units, bool)
        for named, groups in parts:
            if places(named) is not None:
                keep[groups[0].units[places(named)]] = False
        parts = [part for part in parts if places(part[0]) is None]
        scores = self._first_scores
        for number, share in enumerate(self._engine.shares()):
            if number:
                scores = self._scores(self._measure(self._masks(keep)))
            for fraction, groups in parts:
                self._select(keep, groups, scores, share(fraction))
        return keep

    def _select(self, keep, groups, scores, fraction):
        numbers = [self.groups.index(group) for group in groups]
        scores = [scores[number] for number in numbers]
        shapes = [self._shapes[number] for number in numbers]
        counts = self._engine.scope(scores, shapes, fraction)
        for group, of_group, count in zip(groups, scores, counts, strict=True):
            of_left = np.where(keep[group.units], of_group, -np.inf)
            count = rounded(count, group, self._round_to)
            keep[group.units] = top(of_left, count)

    def _scores(self, signals):
        """The scores of the units of each group."""
        return [self._score(group, signals) for group in self.groups]

    def _score(self, group, signals):
        weights = self._makers(group)

        def pool(scores, reduce):
            of_variables = [
                weight.layout.from_canonical(of_weight)
                for weight, of_weight in zip(weights, scores, strict=True)
            ]
            return reduce(rows_of_units(self._graph, group, of_variables), 1)

        return self._engine.score_groups(weights, signals, pool)

    def _shape(self, group):
        """The number of weights in a unit, and the number of units."""
        nothing = [
            np.zeros(weight.layout.shape, bool) for weight in self._makers(group)
        ]
        return rows_of_units(self._graph, group, nothing).shape[::-1]

    def _makers(self, group):
        slots = makers(self._graph, [group])
        return [self.weights[id(slot.variable)] for slot in slots]

    def _masks(self, keep):
        """`{path: canonical mask}` of the weights for a choice of units."""
        masks = unit_masks(self._graph, keep)
        return {
            weight.path: weight.layout.to_canonical(
                np.broadcast_to(masks[key], weight.layout.shape)
            )
            for key, weight in self.weights.items()
            if key in masks
        }


def _is_in(path, group):
    """Whether a weight belongs to the layer that gives a group its name."""
    return path.startswith(f"{path_of(group.name)}/")


def places(ratio):
    """The indices in a group that a ratio lists, None if it is a fraction."""
    return np.array(ratio, int) if isinstance(ratio, (list, tuple)) else None


def whole_tiles(round_to):
    """The number of channels that `round_to` stands for, which may be `"auto"`."""
    return channel_tile() if round_to == "auto" else round_to


def rounded(count, group, round_to):
    """The multiple nearest to `count`, at least one and at most the whole group.

    Args:
        count: number of units.
        group: the `ChannelGroup`.
        round_to: number of channels.
    """
    step = round_to // math.gcd(round_to, group.channels_per_unit)
    return min(max(step, math.floor(count / step + 0.5) * step), group.size)


def rows_of_units(graph, group, scores):
    """Scores of all weights that produce each unit of a group, `(units, weights)`.

    Args:
        graph: the `ChannelGraph`.
        group: one of its groups.
        scores: list of arrays, one for each of its `makers`, of the variable's shape.
    """
    parts = []
    for slot, of_slot in zip(makers(graph, [group]), scores, strict=True):
        units = graph.units(slot.ids)
        order = np.argsort(units, kind="stable")
        order = order[np.isin(units[order], group.units)]
        rows = np.moveaxis(of_slot, slot.axis, 0)
        # All units of a group have equally many places in a slot.
        parts.append(rows[order].reshape(group.size, -1))
    return np.concatenate(parts, axis=1)


class Cost:
    """Parameters and MACs of a model with only some of its units.

    Args:
        graph: the `ChannelGraph`.
    """

    def __init__(self, graph):
        self._graph = graph
        self._slots = {}
        for slot in graph.trace.slots.values():
            self._slots.setdefault(id(slot.variable), []).append(slot)
        self._macs = _macs_of_variables(graph.flat)

    def parameters(self, keep):
        """Number of weights."""
        variables = {id(v): v for v in self._graph.flat.weights}.values()
        return sum(math.prod(v.shape) * self.share(v, keep) for v in variables)

    def macs(self, keep):
        """MACs per sample, as counted by `tfcompress.core.macs`."""
        return sum(self.macs_of_kernels(keep).values())

    def macs_of_kernels(self, keep):
        """The same for each kernel, `{id(kernel): MACs}`."""
        return {
            id(kernel): count
            * self.share(kernel, keep)
            * self._kept(self._graph.trace.positions.get(id(kernel), ()), keep)
            for kernel, count in self._macs
        }

    def share(self, variable, keep):
        """The fraction of a weight's elements that stays."""
        slots = self._slots.get(id(variable), ())
        return self._kept([slot.ids for slot in slots], keep)

    def _kept(self, axes, keep):
        return math.prod(
            np.count_nonzero(keep[self._graph.units(ids)]) / ids.size for ids in axes
        )


def ratio_for(graph, select, target_macs=None, target_parameters=None):
    """The lowest ratio whose selection meets a target.

    Args:
        graph: the `ChannelGraph`.
        select: the `Selection`.
        target_macs: the maximum; values up to 1 are a fraction of the model's.
        target_parameters: the same for weights, if there is no `target_macs`.

    Raises:
        ValueError: if the target cannot be reached.
    """
    cost = Cost(graph)
    name, measure, target = (
        ("target_macs", cost.macs, target_macs)
        if target_macs is not None
        else ("target_parameters", cost.parameters, target_parameters)
    )
    limit = target * measure(select(0.0)) if target <= 1 else target
    return lowest_ratio(lambda ratio: measure(select(ratio)), limit, name)


def lowest_ratio(measure, limit, name, steps=_SEARCH_STEPS):
    """The lowest ratio at which `measure(ratio)` is within a limit.

    Args:
        measure: a function that decreases as the ratio increases.
        limit: the maximum.
        name: the name of the argument, for messages.
        steps: the number of bisection steps.
    """
    if measure(0.0) <= limit:
        return 0.0
    low, high = 0.0, _HIGHEST_RATIO
    least = measure(high)
    if least > limit:
        raise ValueError(
            f"{name} cannot be reached: got {limit:.6g}, but {least:.6g} is left "
            "when every group keeps only one unit. Allow more, or ignore fewer layers."
        )
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (low, middle) if measure(middle) <= limit else (middle, high)
    return high


def _macs_of_variables(model):
    """`[(kernel, MACs)]`; kernels of one layer are applied at the same positions."""
    counts, found = macs(model), []
    for _, layer in leaves(model):
        kernels = [ref.variable for ref in leaf_refs(layer) if ref.is_kernel]
        total = sum(math.prod(kernel.shape) for kernel in kernels)
        work = counts.get(id(layer), 0)
        found += [(k, work * math.prod(k.shape) / total) for k in kernels]
    return found
