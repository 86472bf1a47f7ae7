"""Fits kernels that lost some of their inputs to their original outputs."""

import numpy as np

from tfcompress.core.behaviour import batch_norms, is_batch_norm
from tfcompress.core.graph import Graph
from tfcompress.core.matrices import bias_of, from_matrix, rows, to_matrix
from tfcompress.pruning.channels.surgery import left_of
from tfcompress.pruning.solvers.least_squares import damped
from tfcompress.quantization.post_training.folded import matrix_layers
from tfcompress.quantization.post_training.inputs import measure
from tfcompress.quantization.post_training.side_by_side import run_on_batches
from tfcompress.rewrites.batch_norm import (
    before_batch_norm,
    move_statistics,
)

_DAMPING = 1e-3


def fit_readers(
    graph, keep, small, batches, recalibrate=True, is_cut=True, most_rows=None
):
    """Fits kernels that read from cut channels, as described in `prune_channels`.

    Args:
        graph: the `ChannelGraph` of the whole model.
        keep: `(number of units,)` booleans.
        small: the cut model, which is changed.
        batches: samples, from `side_by_side.batches_of`.
        recalibrate: whether to update the statistics of batch normalization.
        is_cut: False if the channels are still there, with zero weights.
        most_rows: how many rows of inputs per batch are enough for a fit; None for all.
            Images with many positions then contribute fewer images.
    """
    left = left_of if is_cut else _zero_elsewhere
    flat, slots = graph.flat, {}
    for slot in graph.trace.slots.values():
        slots.setdefault(id(slot.variable), []).append(slot)
    before_norm = before_batch_norm(Graph(flat)) if recalibrate else set()

    def lost_inputs(layer):
        return any(
            slot.role == "input" and not keep[graph.units(slot.ids)].all()
            for slot in slots.get(id(layer.kernel), ())
        )

    def visit(exact, layer, exact_inputs, inputs):
        if is_batch_norm(exact):
            channels = np.arange(exact.moving_mean.shape[0])
            if is_cut:
                own = slots.get(id(exact.moving_mean), ())
                channels = left_of(channels, own, graph, keep)
            return move_statistics(layer, exact_inputs, inputs, channels)
        made = [slot for slot in slots[id(exact.kernel)] if slot.role == "output"]
        kernel = left(exact.kernel.numpy(), made, graph, keep)
        whole, start = (
            to_matrix(layer, value).astype(np.float64)
            for value in (kernel, layer.kernel.numpy())
        )
        bias = bias_of(layer)
        is_free = bias is not None or id(exact) in before_norm
        if most_rows:
            count = _samples_for(layer, inputs[0], most_rows)
            exact_inputs, inputs = (
                [part[:count] for part in parts] for parts in (exact_inputs, inputs)
            )
        fed = measure(exact, exact_inputs, inputs, True, centered=is_free)
        _, fitted = damped(whole, fed, _DAMPING, start)
        layer.kernel.assign(from_matrix(layer, fitted))
        if bias is not None:
            lost = fed.exact_mean[:, None] @ whole - fed.mean[:, None] @ fitted
            bias.assign_add(lost.reshape(bias.shape))

    layers = [
        layer
        for layer in matrix_layers(flat).values()
        if lost_inputs(layer) and len(to_matrix(layer, layer.kernel.numpy())) == 1
    ]
    if recalibrate:
        layers += batch_norms(flat)
    run_on_batches(flat, small, batches, layers, visit)


def _samples_for(layer, inputs, num_rows):
    """How many samples have at least `num_rows` rows."""
    return -(-num_rows // rows(layer, inputs[:1]).shape[1])


def _zero_elsewhere(value, slots, graph, keep):
    """`left_of` with zeros for what goes."""
    for slot in slots:
        shape = [1] * value.ndim
        shape[slot.axis] = -1
        value = value * keep[graph.units(slot.ids)].reshape(shape)
    return value
