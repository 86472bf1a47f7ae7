"""Functional graphs: flattening, and who feeds whom."""

import keras

from tfcompress.core.cloning import is_graph, rebuild


def check_graph(model, action):
    """Raises unless the model's layers form a graph that can be followed."""
    if not is_graph(model):
        raise ValueError(
            f"Cannot {action} {model.name!r}: {type(model).__name__} is a subclassed "
            "model, whose inside cannot be followed. If its call() uses only Keras "
            "layers and keras.ops, make it functional: "
            "x = keras.Input(shape); model = keras.Model(x, model.call(x))."
        )


def flatten(model):
    """A functional copy of a model in which nested models are written out.

    Layers keep their names; one that stands in the way of another gets the name of its
    nested model in front.

    >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a")])
    >>> outer = keras.Sequential([keras.Input((4,)), inner, keras.layers.ReLU(name="b")])
    >>> [layer.name for layer in flatten(outer).layers[1:]]
    ['a', 'b']
    """
    model = rebuild(model)
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    if not any(_is_nested(op) for op in model.operations):
        return model
    while any(_is_nested(op) for op in model.operations):
        _make_names_unique(model)
        model = keras.models.clone_model(
            model, clone_function=lambda layer: layer, call_function=_inline
        )
    return rebuild(model)


def _is_nested(operation):
    return isinstance(operation, keras.Model) and is_graph(operation)


def _inline(layer, *args, **kwargs):
    # Calling `call` with symbolic tensors adds the inner layers to the outer graph.
    return layer.call(*args, **kwargs) if _is_nested(layer) else layer(*args, **kwargs)


def _make_names_unique(model):
    taken = {op.name for op in model.operations}
    for nested in [op for op in model.operations if _is_nested(op)]:
        for layer in nested.layers:
            if layer.name in taken:
                layer.name = f"{nested.name}_{layer.name}"
            taken.add(layer.name)


class Graph:
    """Nodes of a freshly built functional model, in topological order.

    Attributes:
        nodes: the calls of operations; each has `operation`, `inputs` and `outputs`.
        outputs: ids of the tensors that leave the model.
    """

    def __init__(self, model):
        self.nodes = [
            Node(node, index)
            for operation in model.operations
            for index, node in enumerate(operation._inbound_nodes)
        ]
        self.outputs = {id(tensor) for tensor in model.outputs}
        self._consumers = {}
        for node in self.nodes:
            for tensor in node.inputs:
                self._consumers.setdefault(id(tensor), []).append(node)

    def consumers(self, node):
        """The nodes that read an output of `node`."""
        return [n for t in node.outputs for n in self._consumers.get(id(t), [])]

    def only_consumer(self, node):
        """The node that alone reads the one output of `node`, or None."""
        consumers = self.consumers(node)
        leaves_model = any(id(t) in self.outputs for t in node.outputs)
        return consumers[0] if len(consumers) == 1 and not leaves_model else None


class Node:
    """One call of an operation."""

    def __init__(self, node, index):
        self.operation = node.operation
        self.index = index
        self.inputs = list(node.arguments.keras_tensors)
        self.outputs = list(node.output_tensors)

    @property
    def key(self):
        """Name of the operation and the number of this call of it."""
        return self.operation.name, self.index

    @property
    def layer(self):
        """The operation, or the layer inside a compressed one."""
        return getattr(self.operation, "inner", self.operation)


def rewire(model, call, replace=None):
    """A copy of a flat model in which each call may be replaced.

    Args:
        model: a flat functional model.
        call: `(key, new operation, *args, **kwargs) -> outputs`, with `Node.key`.
        replace: as in `rebuild`.
    """
    counters = {}

    def counted(operation, *args, **kwargs):
        name = operation.name
        index = counters.get(name, 0)
        counters[name] = index + 1
        return call((name, index), operation, *args, **kwargs)

    replace = {"replace": replace} if replace else {}
    return rebuild(model, call=counted, **replace)
