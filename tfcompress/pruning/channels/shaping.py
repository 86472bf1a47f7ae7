"""How channels pass through operations that rearrange, join, split or normalize them."""

import keras
import numpy as np

from tfcompress.pruning.channels.rules import rule
from tfcompress.pruning.channels.trace import (
    Axis,
    Tensor,
    Use,
    joined,
    known_size,
    split_evenly,
)
from tfcompress.pruning.channels.weighted import einsum_terms

L = keras.layers


@rule(L.InputLayer)
def model_input(call):
    """No input channels can be cut."""
    return call.outputs({}, "comes from outside the model")


@rule(L.Flatten)
def flatten(call):
    """Merges all axes into one; `channels_first` inputs are transposed before."""
    x = call.inputs[0]
    if call.layer.data_format == "channels_first" and x.rank > 2:
        order = [0, *range(2, x.rank), 1]
        axes = {order.index(axis): channels for axis, channels in x.axes.items()}
        x = Tensor([x.shape[a] for a in order], axes, x.reason)
    axes = _rearranged(call, x)
    return call.leave_whole("has unknown sizes") if axes is None else call.outputs(axes)


@rule(L.Reshape, "Reshape")
def reshape(call):
    """Merges and splits axes."""
    axes = _rearranged(call, call.inputs[0])
    if axes is None:
        return call.leave_whole("has unknown sizes")
    if isinstance(call.layer, keras.Layer):
        for axis, channels in axes.items():
            call.resize(("target_shape", axis - 1), channels.ids)
        return call.outputs(axes)

    def call_reshape(count, operation, x):
        shape = list(operation.newshape)
        for axis, channels in axes.items():
            shape[axis] = count(channels.ids)
        return keras.ops.reshape(x, shape)

    call.trace.calls[call.node.key] = call_reshape
    return call.outputs(axes)


def _rearranged(call, x):
    """Axes of the output; None if required sizes are unknown."""
    segments = _segments(x.shape, call.shapes[0])
    if segments is None:
        return None
    axes = {}
    for (olds, old_sizes), (news, new_sizes) in segments:
        labelled = [axis for axis in olds if axis in x.axes]
        if not labelled:
            continue
        axis = max(labelled, key=lambda a: x.axes[a].ids.size)
        for other in labelled:
            if other != axis:
                reason = f"{call.name} merges them with channels of another axis"
                call.trace.fix(x.axes[other].ids, reason)
        place = [-1 if a == axis else 1 for a in olds]
        spread = x.axes[axis].map(
            lambda a, place=place, sizes=old_sizes: np.broadcast_to(
                a.reshape(place), sizes
            )
        )
        position, channels = split_evenly(call.trace, spread, new_sizes)
        if position is None:
            call.trace.fix(x.axes[axis].ids, f"{call.name} has only one of them")
        else:
            axes[news[position]] = channels
    return axes


def _segments(old, new):
    """Runs of axes of both shapes with equally many elements, as `(axes, sizes)` pairs."""
    sizes = [[size or 1 for size in shape] for shape in (old, new)]
    for this, other, shape in ((0, 1, old), (1, 0, new)):
        rest, missing = divmod(known_size(sizes[other]), known_size(sizes[this]))
        if rest > 1 and not missing and list(shape).count(None) == 1:
            sizes[this][list(shape).index(None)] = rest
    if known_size(sizes[0]) != known_size(sizes[1]):
        return None
    segments, starts = [], [0, 0]
    while starts[0] < len(old) and starts[1] < len(new):
        ends = [start + 1 for start in starts]
        runs = [sizes[i][starts[i] : ends[i]] for i in (0, 1)]
        while known_size(runs[0]) != known_size(runs[1]):
            smaller = int(known_size(runs[1]) < known_size(runs[0]))
            ends[smaller] += 1
            runs[smaller] = sizes[smaller][starts[smaller] : ends[smaller]]
        segments.append([(list(range(starts[i], ends[i])), runs[i]) for i in (0, 1)])
        starts = ends
    return segments


@rule(L.Concatenate, "Concatenate")
def concatenate(call):
    """Joins the channels of all inputs; along other axes they are tied."""
    rank = call.inputs[0].rank
    place = call.layer.axis % rank
    axes = _tied(call, range(rank), leave_out=place)
    if any(place in x.axes for x in call.inputs):
        axes[place] = joined([call.trace.axis(x, place) for x in call.inputs])
    return call.outputs(axes)


@rule("Repeat")
def repeat(call):
    """Repeats each channel, such as heads of keys that several queries share."""
    x, layer = call.inputs[0], call.layer
    if layer.axis is None or not isinstance(layer.repeats, int):
        return call.leave_whole("repeats them in an unknown way")
    axes, axis = dict(x.axes), layer.axis % x.rank
    if axis in axes:
        axes[axis] = axes[axis].map(lambda a: np.repeat(a, layer.repeats))
    return call.outputs(axes)


@rule("Stack")
def stack(call):
    """Adds an axis; along the others, channels are tied."""
    rank = call.inputs[0].rank
    new = call.layer.axis % (rank + 1)
    positions = [axis + (axis >= new) for axis in range(rank)]
    return call.outputs(_tied(call, positions))


def _tied(call, positions, leave_out=None):
    """Axes that all inputs share; `positions` are their positions in the output."""
    axes = {}
    for axis, position in enumerate(positions):
        if axis == leave_out or not any(axis in x.axes for x in call.inputs):
            continue
        first, *others = [call.trace.axis(x, axis) for x in call.inputs]
        for other in others:
            call.trace.tie(first.ids, other.ids)
        axes[position] = first.unknown()
    return axes


@rule("Pad")
def pad(call):
    """Adds channels of zeros, as in shortcuts without weights."""
    x, layer = call.inputs[0], call.layer
    value = call.arguments().get("constant_values") or 0.0
    if layer.mode != "constant" or not isinstance(value, (int, float)):
        return call.leave_whole("uses an unknown kind of padding")
    widths = np.broadcast_to(layer.pad_width, (x.rank, 2)).tolist()
    parts = {}
    for axis, channels in x.axes.items():
        is_bordered = any(sum(w) for a, w in enumerate(widths) if a != axis)
        stays = (channels.constant == value) | (not is_bordered)
        inside = Axis(channels.ids, np.where(stays, channels.constant, np.nan))
        before, after = (_constant_channels(call, size, value) for size in widths[axis])
        parts[axis] = before, inside, after

    def call_pad(count, operation, x, **kwargs):
        new = list(widths)
        for axis, (before, _, after) in parts.items():
            new[axis] = [count(before.ids), count(after.ids)]
        return keras.ops.pad(x, new, **kwargs)

    call.trace.calls[call.node.key] = call_pad
    return call.outputs({axis: joined(part) for axis, part in parts.items()})


def _constant_channels(call, size, value):
    return Axis(call.trace.fresh(size).ids, np.full(size, value))


@rule("Split")
def split(call):
    """Splits an axis into consecutive parts."""
    x, layer = call.inputs[0], call.layer
    axis = layer.axis % x.rank
    if axis not in x.axes:
        return [Tensor(shape, x.axes, x.reason) for shape in call.shapes]
    bounds = np.cumsum([shape[axis] for shape in call.shapes])[:-1]
    parts = [
        Axis(*pair)
        for pair in zip(
            np.split(x.axes[axis].ids, bounds),
            np.split(x.axes[axis].constant, bounds),
            strict=True,
        )
    ]

    def call_split(count, operation, x):
        sizes = [count(part.ids) for part in parts]
        return keras.ops.split(x, np.cumsum(sizes)[:-1].tolist(), operation.axis)

    call.trace.calls[call.node.key] = call_split
    return [
        Tensor(shape, {**x.axes, axis: part})
        for shape, part in zip(call.shapes, parts, strict=True)
    ]


@rule("GetItem")
def get_item(call):
    """`x[key]` with slices and integers."""
    x, key = call.inputs[0], call.node.arguments.args[1]
    key = key if isinstance(key, tuple) else (key,)
    key = key if Ellipsis in key else (*key, Ellipsis)
    dots = key.index(Ellipsis)
    missing = x.rank - sum(part not in (None, Ellipsis) for part in key)
    key = [*key[:dots], *[slice(None)] * missing, *key[dots + 1 :]]
    axes, position, axis = {}, 0, 0
    cut = {}
    for place, part in enumerate(key):
        if part is None:
            position += 1
            continue
        channels = x.axes.get(axis)
        axis += 1
        if isinstance(part, int):
            if channels is not None:
                call.trace.fix(channels.ids, f"{call.name} takes one of them")
            continue
        if channels is not None and part.step not in (None, 1):
            call.trace.fix(channels.ids, f"{call.name} takes them in steps")
        if channels is not None:
            axes[position] = channels.map(lambda a, part=part: a[part])
            cut[place] = channels.ids
        position += 1

    def call_get_item(count, operation, x, _):
        new = list(key)
        for place, ids in cut.items():
            start, stop, step = key[place].indices(ids.size)
            new[place] = slice(count(ids[:start]), count(ids[:stop]), step)
        return x[tuple(new)]

    call.trace.calls[call.node.key] = call_get_item
    return call.outputs(axes)


@rule(L.LayerNormalization, L.RMSNormalization)
def layer_normalization(call):
    """Statistics are over channels; each has its own scale and offset."""
    layer, x = call.layer, call.inputs[0]
    given = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    normalised = [axis % x.rank for axis in given]
    axes = dict(x.axes)
    for position, axis in enumerate(normalised):
        if axis not in axes:
            continue
        for name in ("gamma", "beta", "scale"):
            weight = getattr(layer, name, None)
            if isinstance(weight, keras.Variable):
                call.along(weight, position, axes[axis].ids)
        axes[axis] = _through_statistics(call, axes[axis])
    return call.outputs({axis: channels.unknown() for axis, channels in axes.items()})


@rule(L.GroupNormalization)
def group_normalization(call):
    """Statistics are over runs of channels, which must stay equally long."""
    layer, x = call.layer, call.inputs[0]
    axis = layer.axis % x.rank
    call.trace.fix_others(x, [axis], f"{call.name} takes statistics over them")
    channels = call.trace.axis(x, axis)
    for weight in (layer.gamma, layer.beta):
        call.along(weight, 0, channels.ids)
    position, runs = split_evenly(call.trace, channels, (layer.groups, -1))
    if position == 0:
        call.resize("groups", runs.ids)
    return call.outputs({axis: _through_statistics(call, channels)})


def _through_statistics(call, channels):
    call.trace.uses.append(Use(channels.ids, channels.constant, is_linear=False))
    return channels.unknown()


@rule("Matmul")
def matmul(call):
    """`y[..., i, j] = Σ_k a[..., i, k] b[..., k, j]`."""
    if len(call.inputs) != 2 or min(x.rank for x in call.inputs) < 2:
        return call.leave_whole("multiplies by something other than batched matrices")
    return _contracted(call, "...ik,...kj->...ij")


@rule("Einsum")
def einsum(call):
    """Any product of tensors."""
    if len(call.inputs) != len(call.node.arguments.args):
        return call.leave_whole("multiplies by a constant")
    return _contracted(call, call.layer.subscripts)


@rule(L.Attention)
def attention(call):
    """`softmax(q kᵀ) v` for inputs `[q, v, k]`."""
    if call.layer.score_mode != "dot" or len(call.shapes) > 1:
        return call.leave_whole("uses an unknown kind of score")
    query, value, *key = call.inputs[:3]
    for x in call.inputs[:3]:
        call.trace.fix_others(x, [-1], f"{call.name} attends over them")
    _multiply(call, [(query, -1), ((key or [value])[0], -1)])
    return call.outputs({value.rank - 1: call.trace.axis(value, -1).unknown()})


@rule("DotProductAttention")
def dot_product_attention(call):
    """`softmax(scale q kᵀ) v` for heads of `(batch, length, heads, width)`."""
    given = call.arguments()
    query, key, value = (given[name] for name in ("query", "key", "value"))
    if any(x.shape[2] != query.shape[2] for x in (key, value)):
        return call.leave_whole("shares heads of keys")
    for x in (query, key, value):
        call.trace.fix_others(x, [2, 3], f"{call.name} attends over them")
    for x in call.inputs:
        if not any(x is known for known in (query, key, value)):
            call.trace.fix_others(x, (), f"{call.name} adds or masks by it")
    heads = [call.trace.axis(x, 2) for x in (query, key, value)]
    for others in heads[1:]:
        call.trace.tie(heads[0].ids, others.ids)
    _multiply(call, [(query, 3), (key, 3)])
    if given.get("scale") is None:
        reason = f"{call.name} scales by their number"
        call.trace.fix(call.trace.axis(query, 3).ids, reason)
    width = call.trace.axis(value, 3)
    return call.outputs({2: heads[0].unknown(), 3: width.unknown()})


def _contracted(call, equation):
    terms, result = einsum_terms(equation, [x.rank for x in call.inputs])
    axes = {}
    for letter in dict.fromkeys("".join(terms)):
        places = [
            (x, term.index(letter))
            for x, term in zip(call.inputs, terms, strict=True)
            if letter in term
        ]
        for x, axis in places:
            if x.shape[axis] == 1 and axis in x.axes:
                call.trace.fix(x.axes[axis].ids, f"{call.name} spreads it")
        places = [(x, axis) for x, axis in places if x.shape[axis] != 1]
        if not any(axis in x.axes for x, axis in places):
            continue
        if letter in result:
            first, *others = [call.trace.axis(x, axis) for x, axis in places]
            for other in others:
                call.trace.tie(first.ids, other.ids)
            axes[result.index(letter)] = first.unknown()
        else:
            _multiply(call, places)
    return call.outputs(axes)


def _multiply(call, places):
    """Sums over products of channels: one that is 0 on either side can be dropped."""
    channels = [call.trace.axis(x, axis) for x, axis in places]
    if len(channels) == 1:
        call.trace.fix(channels[0].ids, f"{call.name} sums over them")
        return
    first, second = channels
    call.trace.tie(first.ids, second.ids)
    either = (first.constant == 0) | (second.constant == 0)
    zero = np.where(either, 0.0, np.nan)
    call.trace.uses.append(Use(first.ids, zero))
