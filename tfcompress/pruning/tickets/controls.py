"""The same sparse network with one thing changed, to measure what its parts are worth."""

import dataclasses
import functools
import math

import keras
import numpy as np

from tfcompress.core.agreement import copy_model
from tfcompress.core.errors import refuse
from tfcompress.core.macs import macs
from tfcompress.core.walk import leaf_of, leaf_refs
from tfcompress.pruning.prune import masked_weights
from tfcompress.pruning.scopes import Global
from tfcompress.pruning.tickets.edge_popup import chosen_by_training
from tfcompress.pruning.tickets.reinitialize import draw_anew
from tfcompress.pruning.tickets.shared_value import VALUES, ensemble, with_value
from tfcompress.pruning.tickets.state import fraction_masked, masks_of, snapshot
from tfcompress.pruning.tickets.training import compile_like, takes

# For very sparse networks, the ratio of operations exceeds any practical training.
_LONGEST = 2


@dataclasses.dataclass(frozen=True)
class Control:
    """A control of a `Ticket`.

    Attributes:
        kind: what was changed, see `Ticket.control`.
        model: the model with masks, trained if the control is; for "shared_value" one
            that averages the probabilities of `models`.
        log: like an entry of `Ticket.log`, without steps if it is not trained. For
            "shared_value" also `scores`, `{number: score}`.
        models: `{number: model}` for "shared_value", None for others.
    """

    kind: str
    model: keras.Model
    log: dict
    models: dict | None = None


def _trained(change, ticket, kind, seed, length):
    """Trains a network with values and masks from `change(ticket, generator)`."""
    values, masks = change(ticket, np.random.default_rng(seed))
    model = ticket.setup.model(values, masks)
    return Control(kind, model, _entry(masks) | _train(ticket, kind, model, length))


def _train(ticket, kind, model, length, **options):
    """Trains a model in the random state of the last round; returns its log."""
    training = ticket.setup.training
    if length is not None and not takes(training.train, "length"):
        refuse(
            f"control({kind!r}, length)",
            length,
            "a train function with a parameter `length`, such as def train(model, "
            "callbacks, length=1), to train for that many times its usual epochs",
        )
    if length is not None:
        options["length"] = length
    training.seed_round(ticket.log[-1]["round"])
    return training.run(model, **options)


def _untrained(change, ticket, kind, seed, length):
    """Scores such a network without training it."""
    values, masks = change(ticket, np.random.default_rng(seed))
    model = ticket.setup.model(values, masks)
    return Control(kind, model, _entry(masks) | {"score": _score(ticket, kind, model)})


def _entry(masks):
    kept = sum(np.count_nonzero(mask) for mask in masks.values())
    return {"sparsity": fraction_masked(masks), "kept": int(kept)}


def _score(ticket, kind, model):
    if ticket.setup.training.evaluate is None:
        refuse(
            f"control({kind!r})",
            None,
            "find_ticket(evaluate=...), since this control is not trained, only scored",
        )
    compile_like(model, ticket.model)
    return ticket.setup.training.score(model)


def _dense(ticket, generator):
    return ticket.weights, {p: np.ones_like(m) for p, m in ticket.masks.items()}


def _reinitialized(ticket, generator):
    model = copy_model(ticket.setup.template)
    draw_anew(model, generator)
    return snapshot(model), ticket.masks


def _layerwise_shuffle(ticket, generator):
    return ticket.weights, _chosen(ticket, _drawn(ticket, generator))


def _random_masks(ticket, generator):
    weights = masked_weights(ticket.model)
    scores = _drawn(ticket, generator)
    shapes = [weight.layout.canonical_shape for weight in weights]
    sparsity = fraction_masked(ticket.masks)
    counts = Global()(list(scores.values()), shapes, sparsity)
    return ticket.weights, _chosen(ticket, scores, counts)


def _inverted(ticket, generator):
    setup = ticket.setup
    dense = {path: np.ones_like(mask) for path, mask in ticket.masks.items()}
    model = setup.model(ticket.scored, dense)
    compile_like(model, ticket.model)
    weights = masked_weights(model)
    measure = setup.engine.measurement(
        setup.with_loss(model), weights, setup.data, model
    )
    signals = measure()
    scores = {w.path: -setup.engine.group_scores(w, signals) for w in weights}
    return ticket.weights, _chosen(ticket, scores)


def _shuffled_values(ticket, generator):
    return _with(ticket, ticket.weights, lambda v, m: _permuted(v, m, generator))


def _permuted(value, mask, generator):
    shuffled = value.copy()
    shuffled[mask] = generator.permutation(value[mask])
    return shuffled


def _initial(ticket, generator):
    return ticket.initial, ticket.masks


def _signed_constant(ticket, generator):
    return _with(ticket, ticket.initial, lambda v, m: np.sign(v) * v.std())


def _with(ticket, values, change):
    """Values with `change(value, mask)` in place of those with masks."""
    changed = {path: change(values[path], mask) for path, mask in ticket.masks.items()}
    return values | changed, ticket.masks


def _drawn(ticket, generator):
    """Random scores of groups, `{path: array}`."""
    engine = ticket.setup.engine
    return {
        weight.path: generator.random(engine.groups_kept(weight).shape)
        for weight in masked_weights(ticket.model)
    }


def _chosen(ticket, scores, counts=None):
    """Masks of the groups with the highest scores, by default equally many per weight."""
    engine, masks = ticket.setup.engine, {}
    weights = masked_weights(ticket.model)
    counts = counts or [np.count_nonzero(engine.groups_kept(w)) for w in weights]
    for weight, count in zip(weights, counts, strict=True):
        chosen = engine.pattern.select(scores[weight.path], count)
        mask = engine.pattern.spread(chosen, weight.layout.canonical_shape)
        masks[weight.path] = weight.layout.from_canonical(mask)
    return masks


def _equal_macs(ticket, kind, seed, length):
    """Trains for as many operations as the dense network."""
    if length is None:
        length = min(_LONGEST, macs_ratio(ticket.model))
    return _trained(_reinitialized, ticket, kind, seed, length)


def macs_ratio(model):
    """Multiply-accumulate operations of a model, relative to those left by its masks."""
    counts, masks = macs(model), masks_of(model)
    left = dict(counts)
    for weight in masked_weights(model):
        leaf = leaf_of(weight.ref)
        if not weight.ref.is_kernel or id(leaf) not in counts:
            continue
        kernels = [ref.variable.shape for ref in leaf_refs(leaf) if ref.is_kernel]
        share = counts[id(leaf)] / sum(map(math.prod, kernels))
        left[id(leaf)] -= share * np.count_nonzero(~masks[weight.path])
    return sum(counts.values()) / sum(left.values())


def _edge_popup(ticket, kind, seed, length):
    """Trains the choice of weights only."""
    keras.utils.set_random_seed(seed)
    model, annealing = chosen_by_training(ticket.setup.original, ticket.masks)
    log = _train(ticket, kind, model, length, callbacks=[annealing])
    return Control(kind, model, _entry(ticket.masks) | log)


def _shared_value(ticket, kind, seed, length):
    """Scores networks whose weights all have the same value, and their mean."""
    models = {}
    for value in VALUES:
        values, masks = _with(ticket, ticket.initial, with_value(value))
        models[value] = ticket.setup.model(values, masks)
    scores = {value: _score(ticket, kind, one) for value, one in models.items()}
    model = ensemble(list(models.values()))
    log = _entry(ticket.masks) | {"score": _score(ticket, kind, model)}
    return Control(kind, model, log | {"scores": scores}, models)


CONTROLS = {
    "dense": functools.partial(_trained, _dense),
    "reinitialize": functools.partial(_trained, _reinitialized),
    "reinitialize_equal_macs": _equal_macs,
    "random_masks": functools.partial(_trained, _random_masks),
    "layerwise_shuffle": functools.partial(_trained, _layerwise_shuffle),
    "invert": functools.partial(_trained, _inverted),
    "shuffle_values": functools.partial(_trained, _shuffled_values),
    "signed_constant": functools.partial(_trained, _signed_constant),
    "edge_popup": _edge_popup,
    "supermask": functools.partial(_untrained, _initial),
    "signed_supermask": functools.partial(_untrained, _signed_constant),
    "shared_value": _shared_value,
}
