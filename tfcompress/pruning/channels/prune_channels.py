"""Removes whole channels, neurons and heads from a model."""

import math
import pathlib
import tempfile

import keras
import numpy as np

from tfcompress.core.compress import as_plain
from tfcompress.core.data import Batches, Samples
from tfcompress.core.graph import editable
from tfcompress.core.kinds import (
    BuiltModel,
    Each,
    Flag,
    Integer,
    Number,
    OneOf,
    PlugIn,
    checked,
)
from tfcompress.core.left_out import warn_of
from tfcompress.core.nouns import Criterion, Scope
from tfcompress.core.rules import PATTERNS, Rule, Rules
from tfcompress.core.walk import path_of, weight_refs
from tfcompress.core.warn import warn
from tfcompress.export import export_tflite
from tfcompress.measuring.benchmark import benchmark
from tfcompress.pruning import scopes
from tfcompress.pruning.channels.graph import CLOSED, ChannelGraph
from tfcompress.pruning.channels.masks import unit_masks
from tfcompress.pruning.channels.reconstruct import fit_readers
from tfcompress.pruning.channels.selection import (
    lowest_ratio,
    places,
    ratio_for,
    selection,
    whole_tiles,
)
from tfcompress.pruning.channels.surgery import cut
from tfcompress.pruning.prune import Engine
from tfcompress.quantization.post_training.side_by_side import batches_of
from tfcompress.rewrites.batch_norm import recalibrate_batch_norm

_TIMED_SEARCH_STEPS = 7
_RATIO = Number(0, below=1, meaning="the fraction of channels to remove")
_PLACES = Each(Integer(0), "indices of channels to remove")


@checked
def prune_channels(
    model: BuiltModel(),
    ratio: _RATIO
    | Rules(_RATIO | _PLACES, "fractions", "{'conv.*': 0.5}", least=1) = None,
    *,
    target_macs: Number(above=0) = None,
    target_parameters: Number(above=0) = None,
    target_latency: Number(above=0) = None,
    criterion: PlugIn(Criterion) = "l2",
    scope: PlugIn(Scope) = "local",
    round_to: Integer(1) | OneOf("auto") = 1,
    data: Batches() = None,
    ignore: PATTERNS = (),
    reconstruct: Samples() = None,
    recalibrate: Flag() = True,
) -> keras.Model:
    """Returns a smaller model, without its least important channels.

    Channels that are added, multiplied or otherwise coupled are removed together
    (`tfc.channel_groups`). The score of a unit of coupled channels is the mean of the
    criterion (or its `reduce`) over all weights that produce it. Inputs, outputs and
    channels that cannot be followed are kept. The result is a functional model with the
    remaining weights, in which nested models are expanded and layers that contain others
    opened, such as blocks of transformers; fine-tune it. A warning names layers that
    cannot be opened, because their `call` uses more than Keras layers and `keras.ops`.

    With `reconstruct`, kernels that read from cut channels are fitted to compute from
    the rest what they computed from all channels, in the order in which they run and
    each with the inputs that it gets in the smaller model:

        min E‖zᵀ W̃ - xᵀ W‖² + λ‖W̃ - W_cut‖²

    for rows `x` of the whole model and `z` of the smaller one, with `W_cut` the
    remaining part of the kernel `W`, and `λ` a thousandth of the mean of `z²`. Biases
    absorb the mean error. Depthwise and grouped convolutions, which read channels one
    by one, are left unchanged.

    Exactly one of `ratio` and the targets must be given; for a target, the lowest ratio
    that meets it is found by search.

    Args:
        model: a built Sequential or Functional model, or a subclassed one whose `call`
            uses Keras only. Compressed models are stripped first.
        ratio: fraction of the channels to remove, in [0, 1). 0 returns the same model.
            Or `{pattern: fraction}` with patterns, as in `tfc.compress`, of layers that
            produce channels; one layer stands for all that it is coupled with, and
            channels of layers that no pattern covers are kept. `scope` distributes each
            fraction among the groups that its pattern covers. A list instead of a
            fraction contains the indices, from 0, of the channels of a group to remove,
            whatever their scores.
        target_macs: maximum multiply-accumulate operations per sample; values up to 1
            are a fraction of the model's.
        target_parameters: maximum number of weights; values up to 1 are a fraction of
            the model's.
        target_latency: maximum latency in milliseconds, as measured by `tfc.benchmark`
            for the float32 file on one thread of this machine.
        criterion: a `Criterion` or its name.
        scope: a `Scope` or its name: `"local"` removes `ratio` of every group,
            `"global"` removes the lowest scores of the whole model, counted in weights;
            with magnitudes, which differ between layers, that can thin out single layers.
        round_to: every group keeps a multiple of this many channels (8 suits most
            hardware), unless it has fewer. `"auto"`: as many as the int8 kernels of this
            machine compute together, 8 to 64: fewer channels take as long there. Groups
            with fewer stay whole.
        data: batches `(x, y)`, not a generator: for criteria that need gradients, and
            to recompute the statistics of batch normalization in the smaller model.
        ignore: patterns of layers whose outputs are not cut, as in `tfc.compress`.
        reconstruct: an array, `{input name: array}` or a dataset of batches: a few
            hundred typical inputs to which kernels are fitted.
        recalibrate: whether to update the statistics of batch normalization: with
            `reconstruct` such that outputs on these samples keep their mean and
            variance, otherwise by recomputing them on `data`.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if a group would be emptied, a target cannot be reached, an `ignore`
            pattern matches nothing, or the model cannot be traced.

    Source: Li et al., "Pruning Filters for Efficient ConvNets" (2017); coupled
    channels as in Fang et al., "DepGraph" (2023); reconstruction: He et al., "Channel
    Pruning for Accelerating Very Deep Neural Networks" (2017), section 3.1.

    Example:
        >>> model = keras.Sequential([keras.Input((8, 8, 3)),
        ...     keras.layers.Conv2D(16, 3), keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> small = tfc.prune_channels(model, ratio=0.5)
        >>> [tuple(w.shape) for w in small.weights]
        [(3, 3, 3, 8), (8,), (288, 10), (10,)]
    """
    _check_one(ratio, target_macs, target_parameters, target_latency)
    plain = as_plain(model)
    graph = ChannelGraph(editable(plain, "cut channels of"))
    engine = Engine(criterion, "filter", scope)
    select = selection(model, graph, engine, data, ignore, whole_tiles(round_to))
    groups = select.groups
    if ratio is not None:
        parts = select.by_rule(ratio)
        for part in parts:
            _check_places(*part)
            _check_not_emptied(*part, engine.scope)
    else:
        ratio = _search(graph, select, target_macs, target_parameters, target_latency)
        parts = [(ratio, groups)]
    keep = select(parts)
    if any(ratio for ratio, _ in parts):
        _warn(graph, groups, keep, ignore)
    small = cut(graph, keep, _repaired(graph, engine, keep, select))
    if keep.all():
        return small
    if reconstruct is not None:
        batches = batches_of(graph.flat, reconstruct)
        fit_readers(graph, keep, small, batches, recalibrate)
    elif data is not None and recalibrate:
        small = recalibrate_batch_norm(small, data)
    return small


def _warn(graph, groups, keep, ignore):
    """Warns about channels that should have been cut but were not."""
    rules = [Rule(pattern) for pattern in ignore]
    closed = {
        name: layer
        for name, layer in graph.closed().items()
        if not any(
            rule.matches(ref)
            for rule in rules
            for ref in weight_refs(graph.flat)
            if layer in ref.owners
        )
    }
    kept = bool(keep.all())
    warn_of(
        closed,
        "prune_channels left {layers} unchanged" + kept * ", and cut no other channel",
        CLOSED,
    )
    if kept and not closed:
        reason = (
            "no group can be cut, given its size and round_to"
            if groups
            else "there is no group of channels that can be cut"
        )
        warn(
            f"prune_channels cut nothing from {graph.flat.name!r}: {reason}. "
            "tfc.channel_groups lists them.",
        )


def _repaired(graph, engine, keep, select):
    """`{id(kernel): array}` of kernels that the criterion repairs after the cut."""
    if not engine.criterion.repairs:
        return {}
    masks = unit_masks(graph, keep)
    return {
        key: engine.adjusted(
            weight,
            weight.layout.to_canonical(
                np.broadcast_to(masks[key], weight.layout.shape)
            ),
            select.signals[weight.path],
        )
        for key, weight in select.weights.items()
    }


def _check_one(*targets):
    given = [value for value in targets if value is not None]
    if len(given) != 1:
        raise ValueError(
            f"prune_channels got {len(given)} of ratio, target_macs, target_parameters "
            "and target_latency: expected exactly one."
        )


def _check_places(ratio, groups):
    if places(ratio) is None:
        return
    (first, *others), named = groups, set(ratio)
    if others:
        names = ", ".join(repr(path_of(group.name)) for group in groups)
        raise ValueError(
            f"ratio={ratio} lists channels for the groups {names}: expected a list for "
            "one group. tfc.channel_groups lists them."
        )
    if max(named, default=0) >= first.size or len(named) == first.size:
        raise ValueError(
            f"ratio={ratio} lists channels of {first.name!r}, which has {first.size} "
            f"units: expected some from 0 to {first.size - 1}, but not all of them."
        )


def _check_not_emptied(ratio, groups, scope):
    if places(ratio) is not None or not isinstance(scope, scopes.Local):
        return
    emptied = [
        group for group in groups if scopes.rounded(ratio * group.size) == group.size
    ]
    if not emptied:
        return
    names = ", ".join(
        f"{path_of(group.name)!r} ({group.size} units)" for group in emptied[:5]
    )
    highest = min((group.size - 0.51) / group.size for group in emptied)
    raise ValueError(
        f"ratio={ratio} would empty {len(emptied)} of the groups of channels: {names}. "
        f"Use at most {math.floor(highest * 1000) / 1000}, list the layers in ignore=, or "
        "use scope='global', which keeps one unit of each group."
    )


def _search(graph, select, target_macs, target_parameters, target_latency):
    """The lowest ratio that meets the target."""
    if target_latency is None:
        return ratio_for(graph, select, target_macs, target_parameters)
    return lowest_ratio(
        lambda ratio: _latency_ms(cut(graph, select(ratio))),
        target_latency,
        "target_latency",
        _TIMED_SEARCH_STEPS,
    )


def _latency_ms(model):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.tflite"
        export_tflite(model, path, verify=False)
        return benchmark(path).median_ms
