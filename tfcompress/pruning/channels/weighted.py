"""How channels pass through layers that sum over them with weights."""

import functools

import keras
import numpy as np

from tfcompress.core.cloning import remake
from tfcompress.core.composite import OwnVariables
from tfcompress.core.walk import sublayers
from tfcompress.pruning.channels.rules import rule
from tfcompress.pruning.channels.trace import Axis, Tensor, joined

L = keras.layers


def _bias(layer):
    return layer.bias if layer.use_bias else None


def _convolved(call):
    """The axis of an image's channels, and the channels; other axes are fixed."""
    x, is_first = call.inputs[0], call.layer.data_format == "channels_first"
    axis = 1 if is_first else x.rank - 1
    call.trace.fix_others(x, [axis], f"{call.name} convolves over them")
    return axis, call.trace.axis(x, axis)


def _activated(call, channels):
    """Channels after the layer's own activation."""
    if _mixes_channels(call.layer.activation):
        call.trace.fix(channels.ids, f"the activation of {call.name} mixes them")
    return channels


@functools.cache
def _mixes_channels(activation):
    """Whether an activation of half its inputs is not half of its outputs."""
    if isinstance(activation, keras.Layer):
        activation = remake(activation, activation.get_config())
    x = np.random.default_rng(0).normal(size=(1, 8)).astype("float32")
    whole = np.asarray(activation(x))
    if getattr(activation, "variables", ()):
        return True
    half = np.asarray(activation(x[:, :4]))
    return whole.shape != x.shape or not np.allclose(whole[:, :4], half)


@rule(L.Dense)
def dense(call):
    """`y = x W + b` on the last axis."""
    layer, x = call.layer, call.inputs[0]
    kernel, bias, last = layer.kernel, _bias(layer), x.rank - 1
    call.consume(call.trace.axis(x, last), kernel, 0, bias=bias)
    out = call.produce(layer.units, [(kernel, 1), (bias, 0)])
    call.resize("units", out.ids)
    out = Axis(out.ids, call.made_constant(kernel, 1, bias, layer.activation))
    others = {axis: c.unknown() for axis, c in x.axes.items() if axis != last}
    call.apply_along(kernel, others.values())
    return call.outputs({**others, last: _activated(call, out)})


@rule(L.Conv1D, L.Conv2D, L.Conv3D)
def convolution(call):
    """A convolution, grouped or not: kernel `(..., inputs / groups, outputs)`."""
    layer, kernel, bias = call.layer, call.layer.kernel, _bias(call.layer)
    position, read = _convolved(call)
    depth = len(kernel.shape)
    out = call.produce(layer.filters, [(kernel, depth - 1), (bias, 0)])
    if layer.groups > 1:
        _grouped(call, read, out, depth)
    else:
        # At a border, padding replaces a constant channel.
        at_border = layer.padding != "valid" and max(layer.kernel_size) > 1
        call.consume(read, kernel, depth - 2, bias=None if at_border else bias)
    call.resize("filters", out.ids)
    made = call.made_constant(kernel, depth - 1, bias, layer.activation)
    return call.outputs({position: _activated(call, Axis(out.ids, made))})


def _grouped(call, read, out, depth):
    """Cuts equally many channels of each group, or whole groups."""
    groups, kernel, tie = call.layer.groups, call.layer.kernel, call.trace.tie
    inputs, outputs = read.ids.reshape(groups, -1), out.ids.reshape(groups, -1)
    if min(inputs.shape[1], outputs.shape[1]) >= groups:
        tie(inputs, np.broadcast_to(inputs[:1], inputs.shape))
        tie(outputs, np.broadcast_to(outputs[:1], outputs.shape))
        first = Axis(inputs[0], read.constant[: inputs.shape[1]])
        call.consume(first.unknown(), kernel, depth - 2)
        return
    for block in (inputs, outputs):
        tie(block, np.broadcast_to(inputs[:, :1], block.shape))
    call.along(kernel, depth - 1, out.ids, "output")
    call.resize("groups", inputs[:, 0])


@rule(L.Conv1DTranspose, L.Conv2DTranspose, L.Conv3DTranspose)
def transposed_convolution(call):
    """Kernel `(..., outputs, inputs)`."""
    layer, kernel, bias = call.layer, call.layer.kernel, _bias(call.layer)
    position, read = _convolved(call)
    depth = len(kernel.shape)
    call.consume(read, kernel, depth - 1)
    out = call.produce(layer.filters, [(kernel, depth - 2), (bias, 0)])
    call.resize("filters", out.ids)
    made = call.made_constant(kernel, depth - 2, bias, layer.activation)
    return call.outputs({position: _activated(call, Axis(out.ids, made))})


@rule(L.DepthwiseConv1D, L.DepthwiseConv2D)
def depthwise_convolution(call):
    """Kernel `(..., channels, multiplier)`: each channel separately."""
    position, read = _convolved(call)
    out = _depthwise(call, read, call.layer.kernel, _bias(call.layer))
    return call.outputs({position: _activated(call, out)})


def _depthwise(call, read, kernel, bias=None):
    layer, axis = call.layer, len(kernel.shape) - 2
    call.along(kernel, axis, read.ids)
    out = read.map(lambda a: np.repeat(a, layer.depth_multiplier))
    call.along(bias, 0, out.ids)
    if not call.trace.with_constants:
        return out
    sums = kernel.numpy().sum(axis=tuple(range(axis))).ravel()
    dead = ~kernel.numpy().any(axis=tuple(range(axis))).ravel()
    at_border = layer.padding != "valid" and max(layer.kernel_size) > 1
    known = out.constant == 0 if at_border else ~np.isnan(out.constant)
    value = np.where(dead, 0.0, np.where(known, out.constant * sums, np.nan))
    value = value + (0.0 if bias is None else bias.numpy())
    if isinstance(layer, L.SeparableConv1D | L.SeparableConv2D):
        return Axis(out.ids, value)
    return Axis(out.ids, np.asarray(layer.activation(value)))


@rule(L.SeparableConv1D, L.SeparableConv2D)
def separable_convolution(call):
    """A depthwise convolution, then a 1x1 convolution."""
    layer, pointwise, bias = call.layer, call.layer.pointwise_kernel, _bias(call.layer)
    position, read = _convolved(call)
    depth = len(pointwise.shape)
    middle = _depthwise(call, read, layer.depthwise_kernel)
    call.consume(middle, pointwise, depth - 2, bias=bias)
    out = call.produce(layer.filters, [(pointwise, depth - 1), (bias, 0)])
    call.resize("filters", out.ids)
    made = call.made_constant(pointwise, depth - 1, bias, layer.activation)
    return call.outputs({position: _activated(call, Axis(out.ids, made))})


@rule(L.Embedding)
def embedding(call):
    """`y = table[x]`."""
    layer = call.layer
    out = call.produce(layer.output_dim, [(layer.embeddings, 1)])
    call.resize("output_dim", out.ids)
    out = Axis(out.ids, call.made_constant(layer.embeddings, 1))
    return call.outputs({len(call.shapes[0]) - 1: out})


@rule(L.ReversibleEmbedding)
def reversible_embedding(call):
    """`y = table[x]`, or `y = x tableᵀ` with the same table if it is tied."""
    layer, given = call.layer, call.arguments()
    out = call.produce(layer.output_dim, [(layer.embeddings, 1)])
    call.resize("output_dim", out.ids)
    if not layer.tie_weights:
        call.along(layer.reverse_embeddings, 0, out.ids)
    if not given.get("reverse"):
        return call.outputs({len(call.shapes[0]) - 1: out.unknown()})
    table = layer.embeddings if layer.tie_weights else layer.reverse_embeddings
    x = given["inputs"]
    call.consume(call.trace.axis(x, -1), table, 1 if layer.tie_weights else 0)
    others = {axis: c.unknown() for axis, c in x.axes.items() if axis != x.rank - 1}
    return call.outputs(others, f"{call.name} gives a score to each word")


@rule(OwnVariables)
def own_variables(call):
    """Variables that a layer has for itself: all that they hold may be channels."""
    outputs = []
    for number, (variable, shape) in enumerate(
        zip(call.layer.held, call.shapes, strict=True)
    ):
        axes = {
            axis: call.produce(size, [(variable, axis)], f"{number}, {axis}")
            for axis, size in enumerate(shape)
        }
        for axis, channels in axes.items():
            call.resize(("specs", number, "shape", axis), channels.ids)
        outputs.append(Tensor(shape, axes))
    return outputs


@rule(L.EinsumDense)
def einsum_dense(call):
    """`y = einsum(equation, x, W) + b`."""
    layer, x = call.layer, call.inputs[0]
    terms, result = einsum_terms(layer.equation, [x.rank, len(layer.kernel.shape)])
    read, weight = terms
    axes = {}
    for position, letter in enumerate(weight):
        if letter in read:
            channels = call.trace.axis(x, read.index(letter))
            if letter in result:
                call.along(layer.kernel, position, channels.ids)
            else:
                call.consume(channels, layer.kernel, position)
        elif letter in result:
            size = layer.kernel.shape[position]
            axes[letter] = call.produce(size, [(layer.kernel, position)], letter)
            place = result.index(letter) - len(result)
            call.resize(("output_shape", place), axes[letter].ids)
    passed = {read[position]: channels for position, channels in x.axes.items()}
    outside = set(result) - set(weight)
    call.apply_along(layer.kernel, [passed[a] for a in passed if a in outside])
    for letter, channels in passed.items():
        if letter in result:
            axes[letter] = channels.unknown()
        elif letter not in weight:
            call.trace.fix(channels.ids, f"{call.name} sums over them")
    if layer.bias is not None:
        shift = len(result) - len(layer.bias.shape)
        for letter, channels in axes.items():
            position = result.index(letter) - shift
            if position >= 0 and layer.bias.shape[position] > 1:
                call.along(layer.bias, position, channels.ids)
    out = {result.index(letter): channels for letter, channels in axes.items()}
    for channels in out.values():
        _activated(call, channels)
    return call.outputs(out)


def einsum_terms(equation, ranks):
    """Letters of each operand and of the result, with the dots expanded.

    >>> einsum_terms("...x,xy->...y", [3, 2])
    (['ABx', 'xy'], 'ABy')
    """
    operands, result = equation.replace(" ", "").split("->")
    terms = operands.split(",")
    missing = max(
        rank - len(term.replace("...", "")) if "..." in term else 0
        for term, rank in zip(terms, ranks, strict=True)
    )
    spare = "".join(c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation)

    def written_out(term, rank):
        count = rank - len(term.replace("...", ""))
        return term.replace("...", spare[missing - count : missing])

    written = [written_out(term, rank) for term, rank in zip(terms, ranks, strict=True)]
    return written, result.replace("...", spare[:missing])


@rule(L.SimpleRNN, L.LSTM, L.GRU)
def recurrent(call):
    """Units: each has one column of every gate and one row of the recurrent kernel."""
    out = _recurrent(call, call.layer, call.inputs[0], ())
    for state in call.inputs[1:]:
        call.trace.tie(call.trace.axis(state, -1).ids, out.ids)
        out = out.unknown()
    return [Tensor(shape, {len(shape) - 1: out}) for shape in call.shapes]


def _recurrent(call, layer, x, path, name="units"):
    cell = layer.cell
    gates = cell.kernel.shape[1] // cell.units
    call.trace.fix_others(x, [-1], f"{call.name} runs along them")
    call.consume(call.trace.axis(x, -1), cell.kernel, 0)
    out = call.produce(cell.units, [], name)
    columns = np.tile(out.ids, gates)
    call.along(cell.kernel, 1, columns, "output")
    call.along(cell.recurrent_kernel, 1, columns, "output")
    if cell.use_bias:
        call.along(cell.bias, len(cell.bias.shape) - 1, columns)
    call.resize((*path, "units"), out.ids)
    out = Axis(out.ids, _resting(call, cell))
    call.consume(out, cell.recurrent_kernel, 0)
    return out


def _resting(call, cell):
    """0 for units whose candidate gate has only zero weights, NaN for the others."""
    gates = np.split(
        np.arange(cell.kernel.shape[1]), cell.kernel.shape[1] // cell.units
    )
    if not call.trace.with_constants or float(np.asarray(cell.activation(0.0))) != 0:
        return np.full(cell.units, np.nan)
    # LSTM: input, forget, candidate, output. GRU: update, reset, candidate.
    candidate = gates[min(len(gates) - 1, 2)]
    weights = [
        cell.kernel,
        cell.recurrent_kernel,
        *([cell.bias] if cell.use_bias else []),
    ]
    rows = [w.numpy().reshape(-1, w.shape[-1])[:, candidate] for w in weights]
    return np.where(np.concatenate(rows).any(axis=0), np.nan, 0.0)


@rule(L.Bidirectional)
def bidirectional(call):
    """Two recurrent layers, whose units are cut alike."""
    layer, x = call.layer, call.inputs[0]
    parts = (layer.forward_layer, layer.backward_layer)
    if not all(isinstance(p, L.SimpleRNN | L.LSTM | L.GRU) for p in parts):
        return call.leave_whole("contains recurrent layers of an unknown kind")
    if len(call.inputs) > 1:
        return call.leave_whole("gets its state from other layers")
    forward, backward = (
        _recurrent(call, part, x, (key, "config"), key)
        for part, key in zip(parts, ("layer", "backward_layer"), strict=True)
    )
    call.trace.tie(forward.ids, backward.ids)
    if layer.return_state or layer.merge_mode is None:
        return [
            Tensor(shape, {len(shape) - 1: forward.unknown()}) for shape in call.shapes
        ]
    if layer.merge_mode != "concat":
        return call.outputs({len(call.shapes[0]) - 1: forward.unknown()})
    return call.outputs({len(call.shapes[0]) - 1: joined([forward, backward])})


@rule(L.MultiHeadAttention)
def multi_head_attention(call):
    """Heads: one slice of the query, key, value and output projections each."""
    layer = call.layer
    if layer.get_config().get("use_gate"):
        return call.leave_whole("has gates")
    heads = call.trace.owned(layer, "heads", layer.num_heads).ids
    call.resize("num_heads", heads)
    out = _attention(call, heads, heads)
    if len(layer.output_dense.kernel.shape) == 3:
        # If not set, it would follow the number of the query's channels.
        call.resize("output_shape", out.ids)
    return _attended(call, out, heads)


@rule(L.GroupQueryAttention)
def group_query_attention(call):
    """Heads of keys and values, each with the query heads that read it.

    If there is only one of the former, query heads.
    """
    layer, given = call.layer, call.arguments()
    if layer.use_gate:
        return call.leave_whole("has gates")
    of_keys = call.trace.owned(layer, "keys", layer.num_key_value_heads).ids
    heads = np.repeat(of_keys, layer.num_repeats)
    if len(of_keys) == 1:
        call.trace.fix(of_keys, f"all heads of {call.name} read them")
        heads = call.trace.owned(layer, "heads", layer.num_query_heads).ids
    call.resize("num_key_value_heads", of_keys)
    call.resize("num_query_heads", heads)
    out = _attention(call, heads, of_keys)
    # Keras makes as many outputs as the query has channels, and wants values with as many.
    for name in ("query", "value"):
        call.trace.tie(call.trace.axis(given[name], -1).ids, out.ids)
    return _attended(call, out, heads)


def _attention(call, heads, of_keys):
    """The outputs of attention, an `Axis`.

    Args:
        call: the call.
        heads: ids of its query heads.
        of_keys: ids of its heads of keys and values.
    """
    given = call.arguments()
    inputs = {name: given.get(name) for name in ("query", "key", "value")}
    if inputs["key"] is None:
        inputs["key"] = inputs["value"]
    inside = {part.name: part for part in sublayers(call.layer)}
    for name, x in inputs.items():
        call.trace.fix_others(x, [-1], f"{call.name} attends over them")
        kernel, ids = inside[name].kernel, heads if name == "query" else of_keys
        call.consume(call.trace.axis(x, -1), kernel, 0)
        call.along(kernel, 1, ids, "output")
        call.along(inside[name].bias, 0, ids)
    values, outputs = inside["value"], inside["attention_output"]
    made = call.made_constant(values.kernel, 1)
    if call.trace.with_constants and values.bias is not None:
        made = np.where(values.bias.numpy().any(axis=1), np.nan, made)
    made = np.repeat(made, len(heads) // len(of_keys))
    kernel, bias = outputs.kernel, outputs.bias
    call.consume(Axis(heads, made), kernel, 0)
    out = call.produce(kernel.shape[-1], [(kernel, len(kernel.shape) - 1), (bias, 0)])
    if len(kernel.shape) != 3:
        call.trace.fix(out.ids, f"{call.name} has several axes of outputs")
    return out


def _attended(call, out, heads):
    results = [Tensor(call.shapes[0], {len(call.shapes[0]) - 1: out})]
    scores = Axis(heads, np.full(len(heads), np.nan))
    return results + [Tensor(shape, {1: scores}) for shape in call.shapes[1:]]
