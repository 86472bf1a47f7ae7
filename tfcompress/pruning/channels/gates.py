"""One learned factor for all coupled channels of each group."""

import keras
import numpy as np

from tfcompress.core.agreement import check_agreement
from tfcompress.core.cloning import clone_layer
from tfcompress.core.compress import as_plain
from tfcompress.core.graph import Graph, editable, rewire
from tfcompress.core.keras_internals import symbolic_calls
from tfcompress.core.kinds import BuiltModel, Flag, checked
from tfcompress.core.left_out import warn_of
from tfcompress.core.rules import PATTERNS
from tfcompress.pruning.channels.channel_scale import ChannelScale
from tfcompress.pruning.channels.graph import ChannelGraph
from tfcompress.pruning.channels.selection import free_groups, makers
from tfcompress.rewrites.fold_channel_scale import MAKERS

L = keras.layers
_WHY = (
    "Gates can follow dense and convolution layers that are called once and whose "
    "outputs form one group of channels, each a separate unit."
)


@checked
def gate_channels(
    model: BuiltModel(), ignore: PATTERNS = (), positions: Flag() = False
) -> keras.Model:
    """Returns a copy of `model` with a gate for each group of channels that can be cut.

    A gate is a layer `ChannelScale`, named `gate_<first layer of the group>`, that
    multiplies each channel by a weight `scale`, initialized to one. It is called after
    each layer that produces channels of the group, after its batch normalization and
    before its activation, so that coupled channels share one gate and a gate of zero
    silences them all. Add a transform to the gates, train, and cut channels that are zero:

        gated = tfc.gate_channels(model)
        gated = tfc.compress(gated, {"gate_.*/scale": "hard_concrete"})
        gated.fit(...)
        small = tfc.shrink(gated)

    `shrink` folds the remaining gates into adjacent layers.

    Args:
        model: a built Sequential or Functional model, or a subclassed one whose `call`
            uses Keras only. Compressed models are stripped first.
        ignore: patterns of layers whose outputs get no gate, as in `tfc.compress`.
        positions: whether the outputs of a `Flatten` before a dense layer also get a
            gate per position, `gate_<name of the Flatten>`, since papers count the
            inputs of such a layer. A channel is cut when all of its positions are zero.

    Returns:
        A functional model with nested models expanded; it computes the same.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if an `ignore` pattern matches nothing, no group can be cut, or the
            model cannot be traced.

    Source: Louizos et al., "Learning Sparse Neural Networks through L0 Regularization"
    (2018), section 2.4, for gates over groups; coupled channels as in Fang et al.,
    "DepGraph" (2023).

    Example:
        >>> x = keras.Input((8, 8, 3))
        >>> y = keras.layers.Conv2D(4, 3, padding="same", name="a")(x)
        >>> z = keras.layers.Conv2D(4, 3, padding="same", name="b")(y)
        >>> y = keras.layers.Conv2D(2, 1, name="c")(keras.layers.Add()([y, z]))
        >>> gated = tfc.gate_channels(keras.Model(x, y))
        >>> _ = gated.get_layer("gate_a").scale.assign([1.0, 0.0, 1.0, 0.0])
        >>> [tuple(w.shape) for w in tfc.shrink(gated).weights]
        [(3, 3, 3, 2), (2,), (3, 3, 2, 2), (2,), (1, 1, 2, 2), (2,)]
    """
    plain = as_plain(model)
    flat = editable(plain, "gate channels of")
    plan = _Plan(flat, ignore, positions)
    if not plan.gates:
        raise ValueError(
            f"gate_channels found no group of channels in {model.name!r} that can be "
            "cut and gated. tfc.channel_groups lists them, and why they cannot be cut."
        )
    warn_of(plan.left_out, "gate_channels added no gate to {layers}", _WHY)
    gated = rewire(flat, plan.call, plan.replace)
    check_agreement(flat, gated)
    return gated


class _Plan:
    """Where gates are inserted.

    Attributes:
        gates: `{name of the layer that a gate follows: ChannelScale}`.
        left_out: `{name: layer}` of layers that produce groups without a gate.
    """

    def __init__(self, flat, ignore, positions):
        self._graph = Graph(flat)
        self._nodes = {node.operation.name: node for node in self._graph.nodes}
        self._taken = {operation.name for operation in flat.operations}
        self.gates, self.left_out, self._split = {}, {}, {}
        channels = ChannelGraph(flat)
        for group in free_groups(channels, ignore):
            self._add_group(channels, group)
        for node in self._graph.nodes if positions else ():
            self._add_positions(node)

    def _add_group(self, channels, group):
        slots = makers(channels, [group])
        layers = [self._nodes[slot.layer].operation for slot in slots]
        if not all(
            _can_follow(layer) and _is_whole(channels, group, slot, slots[0])
            for layer, slot in zip(layers, slots, strict=True)
        ):
            self.left_out |= {layer.name: layer for layer in layers}
            return
        # If vectors scale images, as in squeeze-and-excitation, the rank of the images.
        rank = max(len(layer.output.shape) for layer in layers)
        gate = self._gate(group.name, _channel_axis(layers[0], rank))
        for layer in layers:
            if len(layer.output.shape) == rank:
                self.gates[self._last_linear(layer)] = gate

    def _add_positions(self, node):
        reader = self._graph.only_consumer(node)
        if not isinstance(node.operation, L.Flatten) or reader is None:
            return
        if isinstance(reader.operation, L.Dense) and _can_follow(reader.operation):
            name = node.operation.name
            self.gates[name] = self._gate(name, -1)

    def _gate(self, name, axis):
        name = f"gate_{name}"
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return ChannelScale(axis, name=name)

    def _last_linear(self, layer):
        """The batch norm after a layer, otherwise the layer, without its activation."""
        node = self._graph.only_consumer(self._nodes[layer.name])
        if node and isinstance(node.operation, L.BatchNormalization):
            return node.operation.name
        if layer.activation is not keras.activations.linear:
            name = f"{layer.name}_activation"
            self._split[layer.name] = L.Activation(layer.activation, name=name)
        return layer.name

    def replace(self, layer):
        """A copy of a layer, without its activation if that follows the gate."""
        copy = clone_layer(layer)
        if layer.name in self._split:
            copy.activation = keras.activations.linear
        return copy

    def call(self, key, operation, /, *args, **kwargs):
        """Calls a layer, then its gate and activation."""
        outputs = operation(*args, **kwargs)
        name, _ = key
        if name in self.gates:
            outputs = self.gates[name](outputs)
        if name in self._split:
            outputs = self._split[name](outputs)
        return outputs


def _can_follow(layer):
    return isinstance(layer, MAKERS) and len(symbolic_calls(layer)) == 1


def _is_whole(channels, group, slot, first):
    """Whether a layer's outputs are the units of a group, in the first layer's order."""
    units = channels.units(slot.ids)
    same = np.array_equal(units, channels.units(first.ids))
    return same and units.size == group.size


def _channel_axis(layer, rank):
    is_first = getattr(layer, "data_format", None) == "channels_first"
    return 1 - rank if is_first else -1
