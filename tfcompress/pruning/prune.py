"""The one pruning engine: signals, scores, groups, how many stay, masks."""

import contextlib
import dataclasses
import functools
import math

import keras
import numpy as np

from tfcompress.core import nouns
from tfcompress.core.agreement import copy_model
from tfcompress.core.collect import Collector
from tfcompress.core.compress import strip
from tfcompress.core.compressed import Treatment, treated_refs
from tfcompress.core.data import Batches
from tfcompress.core.errors import check_finite, refuse
from tfcompress.core.keras_internals import optimizer_slots
from tfcompress.core.kinds import BuiltModel, Integer, Number, PlugIn, checked
from tfcompress.core.nouns import Criterion, Pattern, Scope
from tfcompress.core.optimizers import optimizer_of
from tfcompress.core.replicas import of_first
from tfcompress.core.rules import Rule, Rules, check_used, last_match
from tfcompress.core.walk import WeightRef, weight_refs
from tfcompress.core.warn import warn
from tfcompress.pruning.scopes import rounded
from tfcompress.transforms.mask import Mask

_FRACTION = Number(0, below=1, meaning="the fraction of weights to remove")
_COUNT = Integer(1, meaning="how many weights stay")
SPARSITY = _FRACTION | Rules(_FRACTION, "fractions", "{'dense.*': 0.9}", least=1)
NUM_KEPT = _COUNT | Rules(_COUNT, "counts", "{'dense.*': 5000}", least=1)
# If an even share is at least this many groups, a single remaining one is reported.
_SHARE_TO_MISS = 4
# Maximum number of paths that an error lists.
_NUM_LISTED = 8


@checked
def prune(
    model: BuiltModel(),
    sparsity: SPARSITY = None,
    criterion: PlugIn(Criterion) = "magnitude",
    pattern: PlugIn(nouns.Pattern) = "weight",
    scope: PlugIn(Scope) = "local",
    data: Batches() = None,
    num_kept: NUM_KEPT = None,
) -> keras.Model:
    """Returns a copy of a model without its least important weights.

    Prunes at once and without training; `tfc.callbacks.Pruning` does the same step by
    step while a model trains. If the model has masks (`tfc.transforms.Mask`), they are
    set, and training keeps the zeros; otherwise the model is stripped, and pruned
    elements of its kernels become zero.

    Args:
        model: a built Keras model, compressed or plain, which is not changed.
        sparsity: fraction of the weights to remove, in [0, 1); or
            `{pattern: fraction}` with patterns as in `tfc.compress`: weights without a
            pattern are left unchanged, and each pattern's fraction is distributed among
            the weights that it covers.
        criterion: a `tfc.criteria` object or name.
        pattern: a `tfc.patterns` object or name.
        scope: a `tfc.scopes` object or name.
        data: batches `(x, y)` for criteria that need signals; gradients are those of
            the compiled loss.
        num_kept: in place of `sparsity`, the number of weights that stay; or
            `{pattern: count}`. Exact over all weights that share it; the scope "local"
            rounds for each weight separately.

    Returns:
        A compressed model if `model` has masks, otherwise a plain one.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if an argument is out of range, a pattern matches nothing, weights
            are not finite, data is missing, or both or neither of `sparsity` and
            `num_kept` are given.

    Source: Han et al., "Learning both Weights and Connections for Efficient Neural
    Networks" (2015).

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> small = tfc.prune(model, 0.75)
        >>> tfc.report(small).sparsity, tfc.report(model).sparsity
        (0.75, 0.0)
        >>> small = tfc.prune(model, num_kept=5)
        >>> tfc.report(small).sparsity == 27 / 32
        True
    """
    if (sparsity is None) == (num_kept is None):
        raise ValueError(
            f"prune(sparsity): got {sparsity} and num_kept={num_kept}, expected one of "
            "them: the fraction of weights to remove, in [0, 1), or how many stay."
        )
    engine = Engine(criterion, pattern, scope)
    if masked_weights(model):
        copy = copy_model(model)
        weights = masked_weights(copy)
    else:
        copy = strip(model)
        weights = [unmasked(ref) for ref in weight_refs(copy) if ref.is_kernel]
    if num_kept is None:
        parts = by_rule(sparsity, weights)
    else:
        parts = by_count("prune", num_kept, weights)
    engine.prune(model, parts, data, copy)
    return copy


@dataclasses.dataclass(frozen=True)
class Prunable:
    """A weight that can be pruned.

    Attributes:
        ref: its `WeightRef`, as seen from the model.
        treatment: its `Treatment`, without transforms for a plain weight.
        mask: the `Mask` that determines what stays; None for a plain weight.
    """

    ref: WeightRef
    treatment: Treatment
    mask: Mask | None = None

    @property
    def path(self):
        """Its name."""
        return self.ref.path

    @property
    def watched(self):
        """See `Treatment.watched`."""
        return self.treatment.watched

    @property
    def layout(self):
        """Its `Layout`."""
        return self.ref.layout

    def bake(self):
        """The effective weight, in the variable's shape."""
        return self.treatment.bake()

    def value(self):
        """The effective weight before its mask, in canonical form."""
        value = self.treatment.bake(upto=self.mask)
        check_finite(f"Weight {self.path}", value)
        return self.layout.to_canonical(value)

    def kept(self):
        """The elements that currently stay, booleans of the variable's shape."""
        if self.mask is None:
            return self.treatment.variable.numpy() != 0
        return self.mask.mask.numpy()

    def kept_canonical(self):
        """The same in canonical form."""
        return self.layout.to_canonical(self.kept())


def masked_weights(model):
    """The `Prunable`s of a model that have masks."""
    return [
        Prunable(ref, treatment, transform)
        for ref, treatment in treated_refs(model)
        for transform in treatment.transforms
        if isinstance(transform, Mask)
    ]


def needed_masks(model, method):
    """The `Prunable`s of a model that have masks.

    Args:
        model: a Keras model.
        method: the name of the method that needs them, for the error.

    Raises:
        ValueError: if there are none.
    """
    if found := masked_weights(model):
        return found
    raise ValueError(
        f"{method} found no Mask in model {model.name!r}. Add masks first: "
        "tfc.compress(model, {'.*': tfc.transforms.Mask()})."
    )


def kernels(model):
    """The kernels of a model as `Prunable`s, whether or not they are treated."""
    treated = {id(ref.variable): treatment for ref, treatment in treated_refs(model)}
    return [
        Prunable(ref, treated.get(id(ref.variable)) or Treatment(ref, []))
        for ref in weight_refs(model)
        if ref.is_kernel
    ]


def unmasked(ref):
    """A weight without a mask, as a `Prunable`."""
    return Prunable(ref, Treatment(ref, []))


def by_rule(value, weights):
    """`[(value, weights)]` for one value for all weights, or for rules.

    Args:
        value: one for all, or `{pattern: value}`; later rules win.
        weights: list of `Prunable`.

    Raises:
        ValueError: if a pattern matches nothing.
    """
    if not isinstance(value, dict):
        return [(value, weights)]
    rules = [Rule(pattern, one) for pattern, one in value.items()]
    refs = [weight.ref for weight in weights]
    found = [last_match(rules, ref) for ref in refs]
    check_used(rules, refs)
    parts = [
        (rule.value, [w for w, one in zip(weights, found, strict=True) if one is rule])
        for rule in rules
    ]
    return [part for part in parts if part[1]]


def by_count(called, num_kept, weights):
    """`[(sparsity, weights)]` for counts of the weights that stay.

    Args:
        called: the name of the function, for the error.
        num_kept: one count for all, or `{pattern: count}`.
        weights: list of `Prunable`.

    Raises:
        ValueError: if a count exceeds the number of elements or is less than one per
            weight, or a pattern matches nothing.
    """
    parts = by_rule(num_kept, weights)
    return [(_sparsity_of(called, count, part), part) for count, part in parts]


def _sparsity_of(called, count, weights):
    total = sum(math.prod(weight.layout.shape) for weight in weights)
    if len(weights) <= count <= total:
        return 1 - count / total
    paths = [weight.path for weight in weights]
    return refuse(
        f"{called}(num_kept)",
        count,
        f"a count from {len(paths)}, one per kernel, to {total}, all elements of "
        f"{', '.join(paths[:_NUM_LISTED])}{', …' if len(paths) > _NUM_LISTED else ''}",
    )


class Engine:
    """Chooses which elements of weights stay, and prunes the others.

    Args:
        criterion: a `Criterion` or its name.
        pattern: a `Pattern` or its name.
        scope: a `Scope` or its name.
        may_return: whether masked elements may return.
    """

    def __init__(self, criterion, pattern="weight", scope="local", may_return=True):
        self.criterion = Criterion.get(criterion)
        self.pattern = Pattern.get(pattern)
        self.scope = Scope.get(scope)
        self.may_return = may_return

    def prune(self, model, parts, data=None, copy=None):
        """Masks weights so that each part has its sparsity.

        Args:
            model: the model, compiled if the criterion needs gradients. Its optimizer's
                slots are reset for weights that return.
            parts: `[(sparsity, list of Prunable)]`.
            data: batches for the signals of the criterion.
            copy: a model that computes the same, if that one has the weights.
        """
        weights = [weight for _, part in parts for weight in part]
        for weight in weights:
            weight.treatment.settle()
        measure = self.measurement(model, weights, data, copy)
        left = (
            None if self.may_return else {w.path: w.kept_canonical() for w in weights}
        )
        for share in (shares := self.shares()):
            signals = measure(left)
            is_last = share is shares[-1]
            masks = [
                mask
                for sparsity, part in parts
                for mask in self._choose(part, signals, share(sparsity), left, is_last)
            ]
            left = dict(zip([weight.path for weight in weights], masks, strict=True))
        values = [
            self.adjusted(weight, keep, signals[weight.path])
            for weight, keep in zip(weights, masks, strict=True)
        ]
        # Only now, so that nothing has changed if something fails.
        for weight, keep, value in zip(weights, masks, values, strict=True):
            self.assign(weight, keep, value, model)

    def measurement(self, model, weights, data=None, copy=None):
        """A function that measures the signals that the criterion needs, once or in rounds.

        Args:
            model: as in `prune`.
            weights: list of `Prunable`.
            data: as in `prune`.
            copy: as in `prune`.

        Returns:
            A function that takes the `{path: canonical mask}` left by earlier rounds,
            None in the first one, and returns `{path: Signals}`.
        """
        collector = Collector(model, weights, data, self.criterion.needs, copy)

        @functools.cache
        def first():
            return {signals.path: signals for signals in collector()}

        def measure(masks=None):
            if masks is None:
                return first()
            with _left(weights, masks):
                return {signals.path: signals for signals in collector()}

        return measure

    def shares(self):
        """The part of a sparsity that each round of the criterion should reach.

        A list of functions of the final sparsity, `1 - (1 - sparsity)^(k / rounds)`,
        which in the last round is the sparsity itself.
        """
        count = self.criterion.rounds
        early = [
            lambda sparsity, k=k: 1 - (1 - sparsity) ** (k / count)
            for k in range(1, count)
        ]
        return [*early, lambda sparsity: sparsity]

    def score_groups(self, weights, signals, pool):
        """Scores of groups of elements of weights.

        Args:
            weights: list of `Prunable`.
            signals: `{path: Signals}`.
            pool: as in `Criterion.score_groups`.

        Raises:
            ValueError: if a weight or scores are not finite, or scores have the wrong
                shape.
        """

        def pool_checked(scores, reduce):
            return pool(
                [
                    self._checked(weight, score)
                    for weight, score in zip(weights, scores, strict=True)
                ],
                reduce,
            )

        members = [(weight.value(), signals[weight.path]) for weight in weights]
        return self.criterion.score_groups(members, pool_checked)

    def score_elements(self, weight, signals):
        """Scores of all elements of a weight, in canonical form.

        Args:
            weight: a `Prunable`.
            signals: its `Signals`.

        Raises:
            ValueError: see `score_groups`.
        """
        return self.score_groups(
            [weight], {weight.path: signals}, lambda scores, reduce: scores[0]
        )

    def _checked(self, weight, scores):
        """Scores of the elements of a weight, in its canonical shape."""
        scores, shape = np.asarray(scores), weight.layout.canonical_shape
        try:
            scores = np.broadcast_to(scores, shape)
        except ValueError as error:
            raise ValueError(
                f"{self.criterion!r} gives weight {weight.path} scores of shape "
                f"{scores.shape}: expected a shape that broadcasts to {shape}, the "
                "weight's with its outputs on the last axis."
            ) from error
        check_finite(f"The score of weight {weight.path}", scores)
        return scores

    def group_scores(self, weight, signals):
        """Scores of the groups into which the pattern divides a weight.

        Args:
            weight: a `Prunable`.
            signals: `{path: Signals}`.
        """
        return self.score_groups(
            [weight],
            signals,
            lambda scores, reduce: self.pattern.pool(scores[0], reduce),
        )

    def groups_kept(self, weight):
        """Which groups of a weight currently have elements left."""
        return self.pattern.pool(weight.kept_canonical(), np.any)

    def _choose(self, weights, signals, sparsity, masks, is_last):
        """Canonical masks of weights that share a sparsity, within the previous ones."""
        scores = [self.group_scores(weight, signals) for weight in weights]
        shapes = [weight.layout.canonical_shape for weight in weights]
        if masks is not None:
            left = [self.pattern.pool(masks[w.path], np.any) for w in weights]
            scores = [
                np.where(groups, score, -np.inf)
                for groups, score in zip(left, scores, strict=True)
            ]
        counts = self.scope(scores, shapes, sparsity)
        if masks is not None:
            # Scopes that round may request one more than there is.
            most = map(np.count_nonzero, left)
            counts = [min(pair) for pair in zip(counts, most, strict=True)]
        if is_last:
            warn_of_floors(self.scope, weights, scores, counts, sparsity)
        return [
            self.pattern.spread(self.pattern.select(score, count), shape)
            for score, count, shape in zip(scores, counts, shapes, strict=True)
        ]

    def assign(self, weight, keep, value, model):
        """Sets the mask and the repaired value of a weight, and refreshes what follows.

        Args:
            weight: a `Prunable`.
            keep: booleans in canonical form.
            value: from `adjusted`.
            model: the model whose optimizer resets its slots for weights that return.
        """
        variable, strategy = weight.treatment.variable, model.distribute_strategy
        if value is not None:
            variable.assign(of_first(strategy, value))
        keep = of_first(strategy, weight.layout.from_canonical(keep))
        if weight.mask is None:
            value = variable.numpy()
            variable.assign(np.where(keep, value, np.zeros((), value.dtype)))
            return
        returned = keep & ~weight.kept()
        weight.mask.mask.assign(keep)
        if returned.any():
            forget(optimizer_of(model, [variable]), variable, returned)
        weight.treatment.refresh(after=weight.mask)

    def adjusted(self, weight, keep, signals):
        """The repaired weight, in the variable's shape; None if there is no repair.

        Args:
            weight: a `Prunable`.
            keep: booleans in canonical form.
            signals: its `Signals`; None if it was not scored, such as a bias that is
                removed with its channel.

        Raises:
            ValueError: if another transform would undo the repair, or it is not finite.
        """
        if not self.criterion.repairs or signals is None:
            return None
        first = weight.treatment.transforms[:1]
        if first and first[0] is not weight.mask:
            raise ValueError(
                f"{self.criterion!r} repairs the weights that stay, but weight "
                f"{weight.path} passes through {first[0]!r} before its mask, which would "
                "undo it. Put the mask first in the rule."
            )
        value = self.criterion.adjust(weight.value(), keep, signals)
        check_finite(f"The repaired weight {weight.path}", value)
        return weight.layout.from_canonical(value)


def warn_of_floors(scope, weights, scores, counts, sparsity):
    """Warns if a scope keeps more than requested, or nearly cuts off a weight."""
    if not hasattr(scope, "floors"):
        return
    shapes = [weight.layout.canonical_shape for weight in weights]
    floors = scope.floors(scores)
    parts = list(zip(weights, scores, shapes, counts, floors, strict=True))
    kept = sum(c * math.prod(shape) // s.size for _, s, shape, c, _ in parts)
    if kept > (allowed := round(scope.allowed(scores, shapes, sparsity))):
        bound = [weight.path for weight, _, _, count, floor in parts if count == floor]
        warn(
            f"{kept} elements stay although sparsity={sparsity:g} allows {allowed}: "
            f"{scope!r} keeps its min_density, or one group, of each weight. That limit "
            f"applies to {bound}.",
        )
    cut = [
        weight.path
        for weight, s, _, count, _ in parts
        if count <= 1 and s.size - rounded(sparsity * s.size) >= _SHARE_TO_MISS
    ]
    if cut:
        warn(
            f"{scope!r} leaves one group, the minimum, of {cut}, and far more of "
            "other weights: hardly anything passes these layers. Give the scope a "
            "min_density, such as 0.01, or use scope='local'.",
        )


@contextlib.contextmanager
def _left(weights, masks):
    """Within it, weights have only the elements left by canonical masks `{path: mask}`."""
    changed = []
    try:
        for weight in (one for one in weights if one.path in masks):
            keep = weight.layout.from_canonical(masks[weight.path])
            place = (
                weight.treatment.variable if weight.mask is None else weight.mask.mask
            )
            before = place.numpy()
            changed.append((place, before))
            place.assign(keep if weight.mask is not None else before * keep)
        yield
    finally:
        for place, before in changed:
            place.assign(before)


def forget(optimizer, variable, places):
    """Zeroes the slots of an optimizer for some elements of a weight."""
    if optimizer is None:
        return
    for slot in optimizer_slots(optimizer, variable):
        slot.assign(np.where(places, np.zeros((), slot.dtype), slot.numpy()))
