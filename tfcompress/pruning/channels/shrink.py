"""Removes what is zero, exactly."""

import collections

import keras
import numpy as np

from tfcompress.core.compress import as_plain
from tfcompress.core.graph import editable
from tfcompress.core.kinds import BuiltModel, checked
from tfcompress.pruning.channels.compact_kernel import CompactKernel
from tfcompress.pruning.channels.graph import ChannelGraph
from tfcompress.pruning.channels.surgery import cut
from tfcompress.rewrites.apply import apply_to_flat
from tfcompress.rewrites.fold_channel_scale import fold_channel_scales


@checked
def shrink(model: BuiltModel()) -> keras.Model:
    """Returns a smaller model that computes exactly the same.

    It cuts channels, neurons and heads

    - that nothing reads: all their weights in the following layers are zero;
    - that are constant, because no input reaches them, as `filter` masks leave them. A
      constant `c` that is not zero (from a bias or a batch norm) is added to the next
      bias, `b' = b + W c`, or, if padding makes it differ at the border, transferred to
      one remaining channel of its kind;

    and rows and columns of convolution kernels that are zero (`CompactKernel`). Gates of
    `tfc.gate_channels` are folded into adjacent layers. Channels whose removal would
    change the outputs are kept, such as a zero channel before a layer normalization,
    whose mean includes it.

    Args:
        model: a built Sequential or Functional model, or a subclassed one whose `call`
            uses Keras only. Compressed models are stripped first.

    Returns:
        A plain functional model; outputs differ only by rounding.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if the model's calls cannot be traced.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8),
        ...     keras.layers.Dense(2)])
        >>> _ = model.layers[0].kernel.assign(np.ones((4, 8)) * (np.arange(8) < 3))
        >>> tfc.shrink(model).layers[1].units
        3
    """
    plain = as_plain(model)
    flat = fold_channel_scales(editable(plain, "shrink"))
    while True:
        graph = ChannelGraph(flat, with_constants=True)
        keep, values = _what_stays(graph)
        if keep.all():
            return apply_to_flat(flat, CompactKernel())
        # Channels that read only removed channels can be removed too.
        flat = cut(graph, keep, values)


def _what_stays(graph):
    """Mask of the units that stay, and weights that absorb constants."""
    readers = collections.Counter(id(use.variable) for use in graph.trace.uses)
    uses = [_Use(graph, use, readers[id(use.variable)]) for use in graph.trace.uses]
    missed = np.zeros(graph.num_units, bool)
    for use in uses:
        missed[use.units[~use.can_do_without]] = True
    keep, weights = np.ones(graph.num_units, bool), _Weights()
    for group in graph.groups:
        units = group.units[~missed[group.units]]
        # A layer must keep at least one output.
        units = units[1:] if units.size == group.size else units
        if group.whole or not units.size:
            continue
        of_group = [use for use in uses if np.isin(use.units, units).any()]
        keep[_hand_over(of_group, units, weights)] = False
    return keep, weights.values


def _hand_over(uses, units, weights):
    """Moves constants into biases or one remaining unit; returns the units to remove."""
    stuck = [use.units[use.is_stuck] for use in uses]
    stuck = units[np.isin(units, np.concatenate(stuck))]
    heir = next(
        (u for u in stuck.tolist() if all(use.is_heir(u) for use in uses)), None
    )
    if heir is None:
        units, stuck = np.setdiff1d(units, stuck), stuck[:0]
    gone = units[units != heir]
    for use in uses:
        use.hand_over(gone, heir, weights)
    return gone


class _Weights:
    """Changed copies of weights."""

    def __init__(self):
        self.values = {}

    def __getitem__(self, variable):
        return self.values.setdefault(id(variable), variable.numpy().copy())


class _Use:
    """A `Use`, with how much it depends on its channels.

    Attributes:
        units: the unit of each position.
        can_do_without: positions that can be dropped, or whose constant can be compensated.
        is_stuck: those of them that only another constant channel can compensate.
    """

    def __init__(self, graph, use, num_readers):
        self.units = graph.units(use.ids)
        self._use = use
        unread = np.zeros(use.ids.size, bool)
        if use.variable is not None:
            rows = np.moveaxis(use.variable.numpy(), use.axis, 0)
            unread = ~rows.reshape(rows.shape[0], -1).any(axis=1)
        silent = unread | ((use.constant == 0) & use.is_linear)
        # A shared layer has one bias for all its calls.
        has_weights = use.variable is not None and num_readers == 1
        known = ~np.isnan(use.constant) & use.is_linear & has_weights
        self._matters = known & ~silent
        self.can_do_without = silent | known
        self.is_stuck = self._matters & (use.bias is None)

    def is_heir(self, unit):
        """Whether other stuck channels can be merged into a unit."""
        here = self.units == unit
        return not self.is_stuck.any() or bool(self.is_stuck[here].all())

    def hand_over(self, gone, heir, weights):
        """Changes the weights to compensate for the units that are removed."""
        going = self._matters & np.isin(self.units, gone)
        if not going.any():
            return
        use = self._use
        rows = np.moveaxis(weights[use.variable], use.axis, 0)
        if use.bias is not None:
            parts = np.tensordot(use.constant[going], rows[going], axes=1)
            weights[use.bias][...] += parts.reshape(-1, parts.shape[-1]).sum(axis=0)
            return
        heirs = np.flatnonzero(self.units == heir)
        for unit in np.unique(self.units[going]):
            places = np.flatnonzero(self.units == unit)
            factors = use.constant[places] / use.constant[heirs]
            rows[heirs] += rows[places] * factors.reshape(-1, *[1] * (rows.ndim - 1))
