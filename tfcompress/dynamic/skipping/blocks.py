"""Residual blocks of a model: `x + f(x)`, where f can be left out."""

import collections
import dataclasses
import re

import keras

from tfcompress.core.errors import did_you_mean
from tfcompress.core.graph import Node
from tfcompress.core.keras_internals import all_layers
from tfcompress.core.macs import macs
from tfcompress.core.rules import Pattern


@dataclasses.dataclass(frozen=True)
class Block:
    """A residual block with an identity shortcut.

    Attributes:
        addition: the node that adds shortcut and branch.
        shortcut: the symbolic tensor x.
        branch: the symbolic tensor f(x), of the same shape.
        nodes: the nodes that compute f(x) from x, and nothing else.
        macs: multiply-accumulates of f(x) for one sample.
    """

    addition: Node
    shortcut: keras.KerasTensor
    branch: keras.KerasTensor
    nodes: list
    macs: float

    @property
    def name(self):
        """The name of the addition."""
        return self.addition.operation.name


def find_blocks(model, graph, at=None):
    """The residual blocks of a model, in execution order.

    Args:
        model: a flat functional model.
        graph: its `Graph`.
        at: names of additions, or regular expressions for them; None for all blocks, the
            innermost of nested ones.

    Raises:
        ValueError: if there is no such block, it cannot be skipped, or blocks overlap.
    """
    costs = _node_macs(model, graph)
    found = {}
    for node in filter(_is_addition, graph.nodes):
        for shortcut, branch in (node.inputs, node.inputs[::-1]):
            nodes = _between(graph, shortcut, branch)
            if nodes and _is_only_read_by(graph, nodes, node):
                cost = sum(costs[one.key] for one in nodes)
                block = Block(node, shortcut, branch, nodes, cost)
                found[block.name] = block
    blocks = _chosen(graph, found, at) if at else _innermost(list(found.values()))
    if not blocks:
        raise ValueError(
            f"Model {model.name!r} has no block to skip: expected an addition x + f(x) of "
            "a tensor and the output of layers on it, in the same shape (an identity "
            "shortcut)."
        )
    _check_apart(blocks)
    return blocks


def _is_addition(node):
    is_sum = type(node.operation).__name__ == "Add"
    shapes = {tensor.shape for tensor in (*node.inputs, *node.outputs)}
    return is_sum and len(node.inputs) == 2 and len(shapes) == 1


def _between(graph, start, end):
    """The nodes between two tensors; None if the later one needs other tensors too."""
    found, waiting = {}, [end]
    while waiting:
        tensor = waiting.pop()
        if tensor is start:
            continue
        node = graph.maker(tensor)
        if node is None or not node.inputs:
            return None
        if node.key not in found:
            found[node.key] = node
            waiting += node.inputs
    return [node for node in graph.nodes if node.key in found]


def _is_only_read_by(graph, nodes, addition):
    """Whether nothing else in the model needs what a branch computes."""
    keys = {node.key for node in (*nodes, addition)}
    leaves = any(id(t) in graph.outputs for node in nodes for t in node.outputs)
    readers = [reader for node in nodes for reader in graph.consumers(node)]
    return not leaves and all(reader.key in keys for reader in readers)


def _node_macs(model, graph):
    """`{node.key: MACs for one sample}`; a shared layer's are divided by its calls."""
    costs = macs(model)
    calls = collections.Counter(node.operation.name for node in graph.nodes)

    def cost(operation):
        layers = all_layers(operation) if isinstance(operation, keras.Layer) else []
        return sum(costs.get(id(layer), 0) for layer in layers)

    return {
        node.key: cost(node.operation) / calls[node.operation.name]
        for node in graph.nodes
    }


def _chosen(graph, found, at):
    names = []
    for pattern in at:
        Pattern().check("at", pattern)
        matched = [name for name in found if re.fullmatch(pattern, name)]
        if not matched:
            raise ValueError(_why_not(graph, found, pattern))
        names += matched
    return [block for name, block in found.items() if name in names]


def _why_not(graph, found, pattern):
    known = f"The model has the blocks {', '.join(found) or '(none)'}."
    for node in graph.nodes:
        if re.fullmatch(pattern, node.operation.name):
            fault = _fault(graph, node)
            return f"Block {node.operation.name!r} cannot be skipped: {fault} {known}"
    return (
        f"at={pattern!r} is not a block of the model: expected the name of an addition "
        f"x + f(x).{did_you_mean(pattern, found)} {known}"
    )


def _fault(graph, node):
    if type(node.operation).__name__ != "Add" or len(node.inputs) != 2:
        return "it does not add two tensors, a shortcut x and a branch f(x)."
    before, after = _start_shape(graph, node), tuple(node.outputs[0].shape[1:])
    if before != after:
        return (
            f"it changes the shape from {before} to {after}, so x does not fit without "
            "its layers. Only blocks with identity shortcuts can be skipped."
        )
    return "neither input is computed from the other by layers that nothing else reads."


def _start_shape(graph, node):
    """The shape of the last tensor that both inputs of an addition depend on."""
    upstream = [_upstream(graph, tensor) for tensor in node.inputs]
    common = [n for n in graph.nodes if all(n.key in keys for keys in upstream)]
    return tuple(common[-1].outputs[0].shape[1:]) if common else ()


def _upstream(graph, tensor):
    """Keys of the nodes that a tensor depends on."""
    needed, keys = {id(tensor)}, set()
    for node in reversed(graph.nodes):
        if any(id(made) in needed for made in node.outputs):
            keys.add(node.key)
            needed |= {id(read) for read in node.inputs}
    return keys


def _innermost(blocks):
    return [
        block for block in blocks if not any(_lies_in(other, block) for other in blocks)
    ]


def _lies_in(block, outer):
    return block.addition.key in {node.key for node in outer.nodes}


def _check_apart(blocks):
    for block in blocks:
        for other in blocks:
            if _lies_in(block, other):
                raise ValueError(
                    f"at: block {block.name!r} lies in the branch of {other.name!r}; "
                    "expected blocks that follow one another. Name one of the two."
                )
