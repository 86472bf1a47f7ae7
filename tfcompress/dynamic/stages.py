"""The stages of a network with several exits."""

import keras

from tfcompress.core.graph import Graph
from tfcompress.core.keras_internals import all_layers
from tfcompress.core.macs import macs


def stages(network):
    """The nodes of each stage: those that an exit needs and no earlier exit does.

    Args:
        network: a flat functional model with one output per exit.

    Returns:
        A list of lists in execution order.
    """
    graph, taken, found = Graph(network), set(), []
    for output in network.outputs:
        needed = graph.ancestors([output]) - taken
        found.append([node for node in graph.nodes if id(node) in needed])
        taken |= needed
    return found


def cumulative_macs(network):
    """Multiply-accumulates up to the answer of each exit, including earlier heads.

    >>> x = keras.Input((4,))
    >>> y = keras.layers.Dense(8)(x)
    >>> heads = [keras.layers.Dense(units)(y) for units in (2, 3)]
    >>> cumulative_macs(keras.Model(x, heads))
    [48, 72]
    """
    counts, totals, total = macs(network), [], 0
    for nodes in stages(network):
        layers = {id(layer) for node in nodes for layer in _layers(node.operation)}
        total += sum(count for layer, count in counts.items() if layer in layers)
        totals.append(total)
    return totals


def _layers(operation):
    """A layer and all layers inside it; none for an operation."""
    return all_layers(operation) if isinstance(operation, keras.Layer) else []
