"""The groups of channels of a model that must be cut together."""

import dataclasses
import itertools
import time

import numpy as np

from tfcompress.core.cloning import remake
from tfcompress.core.composite import is_composite, paired_variables
from tfcompress.core.compress import stripped
from tfcompress.core.graph import Graph, flatten_with_origins
from tfcompress.core.keras_internals import all_layers
from tfcompress.core.left_out import closed_layers
from tfcompress.core.walk import is_compressed, tied_layers, weight_refs
from tfcompress.pruning.channels import shaping, weighted  # noqa: F401  (registers rules)
from tfcompress.pruning.channels.probe import follow
from tfcompress.pruning.channels.rules import find
from tfcompress.pruning.channels.trace import Call, Trace

CLOSED = (
    "Channels are followed inside layers that contain others if their call() uses only "
    "Keras layers, keras.ops and known sizes. Change it, or build these into the model "
    "with the functional API, to cut their channels."
)


@dataclasses.dataclass(frozen=True)
class Member:
    """An axis of a weight that a group runs through.

    Attributes:
        layer: name of the layer.
        weight: name of the weight.
        axis: axis of the weight.
        role: `"output"`: produces the channels, `"input"`: reads them, `"channel"`: both.
        per_unit: elements along the axis that belong to one unit, more than one after a
            flattened image or in grouped convolutions.
    """

    layer: str
    weight: str
    axis: int
    role: str
    per_unit: int


@dataclasses.dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Units that run through the same weights; each can be cut on its own.

    Attributes:
        name: name of the first layer that produces them.
        units: their indices in the model's `ChannelGraph`.
        members: every weight that they run through.
        whole: why none of them can be cut, or None.
    """

    name: str
    units: np.ndarray
    members: tuple
    whole: str | None

    @property
    def size(self):
        """Number of units."""
        return self.units.size

    @property
    def channels_per_unit(self):
        """The number of channels of the first weight that belong to one unit."""
        makers = [m for m in self.members if m.role == "output"] or self.members
        return makers[0].per_unit

    def layers(self, *roles):
        """Names of the layers with these roles, in the order of the model."""
        return list(dict.fromkeys(m.layer for m in self.members if m.role in roles))


class ChannelGraph:
    """What can be cut from a flat functional model.

    Args:
        flat: a fresh flat model (`tfcompress.core.graph.flatten`).
        with_constants: whether to determine which channels are constant.

    Attributes:
        flat: the model.
        trace: the `Trace` made while following it.
        groups: list of `ChannelGroup`.
        seconds: the time that this took.
    """

    def __init__(self, flat, with_constants=False):
        start = time.perf_counter()
        self.flat = flat
        self.trace = _follow_all(flat, with_constants)
        self._units, self.num_units = self.trace.units()
        self._reasons = self.trace.reasons(self._units)
        self.groups = self._groups()
        self.seconds = time.perf_counter() - start

    def closed(self):
        """`{name: layer}` of layers that contain layers whose channels cannot be cut."""
        known = {id(slot.variable) for slot in self.trace.slots.values()}
        return {
            name: layer
            for name, layer in closed_layers(self.flat).items()
            if not any(id(variable) in known for variable in layer.variables)
        }

    def units(self, ids):
        """The units of ids."""
        return self._units[ids]

    def _groups(self):
        """Units with as many places in the same slots, found by sums of random codes."""
        slots = list(self.trace.slots.values())
        inside = [np.unique(self._units[slot.ids]) for slot in slots]
        codes = np.random.default_rng(0).integers(1, 2**62, len(slots))
        signature = np.zeros(self.num_units, np.int64)
        for code, slot in zip(codes, slots, strict=True):
            np.add.at(signature, self._units[slot.ids], code)
        for unit, reason in self._reasons.items():
            signature[unit] ^= hash(reason)
        signatures = [set(signature[units].tolist()) for units in inside]
        used = np.unique(np.concatenate([np.zeros(0, int), *inside]))
        groups = []
        for one in dict.fromkeys(signature[used].tolist()):
            within = [one in found for found in signatures]
            members = list(itertools.compress(slots, within))
            groups.append(self._group(used[signature[used] == one], members))
        return groups

    def _group(self, units, slots):
        makers = [slot for slot in slots if slot.role == "output"] or slots
        members = []
        for slot in slots:
            inside = np.count_nonzero(np.isin(self._units[slot.ids], units))
            members.append(
                Member(
                    slot.layer,
                    slot.variable.name,
                    slot.axis,
                    slot.role,
                    inside // units.size,
                )
            )
        whole = self._reasons.get(int(units[0]))
        if whole is None and units.size == 1:
            whole = "has only one unit"
        return ChannelGroup(makers[0].layer, units, tuple(members), whole)


def followed(model):
    """The graph of a model that trains, and its variables.

    Returns:
        The `ChannelGraph` of a flat copy, and `{id(variable of the copy): variable of the
        model}`, of compressed layers too.
    """
    # What is inside of a compressed layer cannot be opened.
    plain = stripped(model) if any(map(_hides_layers, all_layers(model))) else model
    own = {ref.path: ref.variable for ref in weight_refs(model)}
    own = {
        id(ref.variable): own.get(ref.path, ref.variable) for ref in weight_refs(plain)
    }
    flat, origins = flatten_with_origins(plain)
    variables = {
        id(copied): own.get(id(variable), variable)
        for copy in flat.layers
        if copy.name in origins
        for copied, variable in paired_variables(copy, origins[copy.name])
    }
    return ChannelGraph(flat), variables


def _hides_layers(layer):
    return is_compressed(layer) and is_composite(layer.inner)


def _follow(call, cache):
    layer = call.layer
    if getattr(layer, "quantization_mode", None) or getattr(
        layer, "lora_enabled", False
    ):
        return call.leave_whole("was quantized by Keras or has LoRA weights")
    if getattr(layer, "variables", ()) and not _can_be_remade(layer):
        return call.leave_whole("cannot be recreated from get_config()")
    rule = find(layer)
    return rule(call) if rule else follow(call, cache)


def _can_be_remade(layer):
    try:
        remake(layer, layer.get_config())
    except Exception:
        # Users' code, which may raise anything.
        return False
    return True


def _follow_all(flat, with_constants):
    trace, tensors, cache = Trace(with_constants), {}, {}
    tied = tied_layers(flat)
    for node in Graph(flat).nodes:
        call = Call(trace, node, [tensors[id(t)] for t in node.data])
        for mask in {id(t) for t in node.inputs} - {id(t) for t in node.data}:
            trace.fix_others(tensors[mask], (), f"{call.name} is masked by it")
        if node.operation.name in tied:
            outputs = call.leave_whole("shares weights with another layer")
        else:
            outputs = _follow(call, cache)
        tensors.update(
            (id(t), tensor) for t, tensor in zip(node.outputs, outputs, strict=True)
        )
    for output in flat.outputs:
        trace.fix_others(tensors[id(output)], (), "leaves the model")
    return trace
