"""Functional graphs: flattening, and which operation feeds which."""

import dataclasses
import functools
import inspect
import math

import keras

from tfcompress.core.agreement import check_agreement
from tfcompress.core.cloning import (
    clone_layer,
    compile_scope,
    is_graph,
    own_training,
    rebuild,
)
from tfcompress.core.composite import (
    Opening,
    OwnVariables,
    Unopened,
    call_inside,
    note_reason,
)
from tfcompress.core.keras_internals import (
    all_layers,
    ordered_calls,
    symbolic_calls,
)
from tfcompress.core.macs import input_specs
from tfcompress.core.symbolic_sizes import exact_specs
from tfcompress.core.walk import INSIDE
from tfcompress.core.warn import warn


def as_graph(model, action):
    """The model itself, or a functional copy of a subclassed one.

    See `as_graph_with_origins`, which also returns which layer is a copy of which.
    """
    return as_graph_with_origins(model, action)[0]


def as_graph_with_origins(model, action):
    """The model itself, or a functional copy of a subclassed one, and its origins.

    Args:
        model: a built model.
        action: a verb for what the caller does with it, for the error.

    Returns:
        `(model, {id(layer of a copy): layer of the model})`.

    Raises:
        ValueError: if Keras cannot trace its `call`; names the first line that fails.
    """
    if is_graph(model):
        return model, {}
    copy = clone_layer(model)
    inputs = symbolic_inputs(model)
    takes_training = "training" in copy.call_signature_parameters
    training = {"training": False} if takes_training else {}
    try:
        outputs = call_inside(copy, OwnVariables.of(copy), inputs, **training)
    except Unopened as error:
        raise ValueError(
            f"Cannot {action} {model.name!r}: {type(model).__name__} is a subclassed "
            f"model, and {error}. Use "
            "only Keras layers and keras.ops in call(), without branches on values, or "
            "build the model with the functional API."
        ) from error
    pairs = list(zip(all_layers(copy), all_layers(model), strict=True))
    graph = keras.Model(inputs, outputs, name=model.name)
    _resolve_shapes(graph)
    check_agreement(model, graph)
    return graph, {id(copied): layer for copied, layer in pairs}


def symbolic_inputs(model):
    """Symbolic inputs like those of a built model, in the structure that it takes."""
    return keras.tree.map_structure(
        lambda spec: keras.Input(spec.shape[1:], dtype=spec.dtype, name=spec.name),
        input_specs(model),
    )


def _resolve_shapes(graph):
    """Lets reshapes infer the batch size, for which `keras.ops.shape` returns None here."""
    for call in ordered_calls(graph):
        shape = list(getattr(call.operation, "newshape", None) or ())
        if shape[:1] != [None] or None in shape[1:]:
            continue
        batch, *sizes = call.input_tensors[0].shape or (0,)
        if batch is not None or None in sizes:
            continue
        known = math.prod(size for size in shape[1:] if size != -1)
        rest = math.prod(sizes) // max(known, 1)
        resolved = (rest if size == -1 else size for size in shape[1:])
        call.operation.newshape = (-1, *resolved)


def editable(model, action):
    """A flat functional copy of any model, to be changed and trained.

    Args:
        model: a built model.
        action: a verb for what the caller does with it, for errors and warnings.

    Raises:
        ValueError: see `as_graph_with_origins`.
    """
    flat = flatten(as_graph(model, action))
    warn_of_training(model, flat, action)
    return flat


def warn_of_training(model, copy, action):
    """Warns if a model customizes training and its copy does not."""
    own = own_training(type(model))
    if own and not isinstance(copy, type(model)):
        warn(
            f"To {action} {model.name!r}, it becomes a model with Keras' training loop: "
            f"{', '.join(own)} of {type(model).__name__} are left out. Train the result "
            "in your own loop, or wrap it in your own model.",
        )


def flatten(model):
    """A functional copy of a model without layers that are made of other layers.

    Nested models are expanded, and composite layers opened (`core/composite.py`).

    Layers of nested models keep their names; one that clashes with another is prefixed
    with the name of its nested model. Layers of composite layers are named after these.

    >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a")])
    >>> outer = keras.Sequential([keras.Input((4,)), inner, keras.layers.ReLU(name="b")])
    >>> [layer.name for layer in flatten(outer).layers[1:]]
    ['a', 'b']
    """
    return flattened(model).model


def flatten_with_origins(model):
    """`flatten`, and `{name of a layer in the copy: layer of the model}`.

    Layers that lead to no output of the model are left out. The origin of an
    `OwnVariables` layer is the composite layer that had the variables.
    """
    flat = flattened(model)
    return flat.model, flat.origins


@dataclasses.dataclass(frozen=True)
class Flat:
    """A model without layers that are made of other layers.

    Attributes:
        model: the functional model.
        origins: `{name of a layer in it: layer of the original}`.
        closed: `{name of a composite layer that could not be opened: why}`.
    """

    model: keras.Model
    origins: dict
    closed: dict


def flattened(model):
    """The `Flat` form of a Sequential or Functional model."""
    flat, opening = _flattened(model, Opening())
    if not opening.has_opened:
        check_agreement(model, flat.model)
        return flat
    try:
        check_agreement(model, flat.model)
    except ValueError as error:
        flat, _ = _flattened(model, Opening(str(error)))
        check_agreement(model, flat.model)
    return flat


def expanded(model):
    """A functional copy of a model whose nested models are expanded, as by `flatten`.

    Layers that contain others stay whole.
    """
    flat, _ = _flattened(model, Opening("it is to stay whole"))
    return flat.model


def _flattened(model, opening):
    copies = []

    def replace(layer):
        copy = clone_layer(layer)
        is_whole = is_graph(layer) or not isinstance(layer, keras.Layer)
        pairs = [(copy, layer)] if is_whole else _pairs(copy, layer)
        copies.extend(pairs)
        return copy

    def call(layer, /, *args, **kwargs):
        if opening.wants(layer):
            return opening.call(layer, *args, **kwargs)
        # Calling `call` with symbolic tensors adds the inner layers to the outer graph.
        return (layer.call if _is_nested(layer) else layer)(*args, **kwargs)

    def hides(operation):
        return _is_nested(operation) or opening.wants(operation)

    flat = rebuild(model, replace)
    if isinstance(flat, keras.Sequential):
        flat = keras.Model(flat.inputs[0], flat.outputs[0], name=flat.name)
    was_nested = any(map(hides, flat.operations))
    while any(map(hides, flat.operations)):
        _make_names_unique(flat)
        with compile_scope(flat), exact_specs():
            flat = keras.models.clone_model(
                flat, clone_function=lambda layer: layer, call_function=call
            )
    _resolve_shapes(flat)
    # From here on, names do not change.
    used = {operation.name: operation for operation in flat.operations}
    originals = {id(copy): layer for copy, layer in copies}
    origins = {
        name: originals[id(opening.opened.get(name, operation))]
        for name, operation in used.items()
        if id(opening.opened.get(name, operation)) in originals
    }
    flat = rebuild(flat) if was_nested else flat
    for layer in flat.layers:
        if layer.name in opening.reasons:
            note_reason(layer, opening.reasons[layer.name])
    return Flat(flat, origins, opening.reasons), opening


def _pairs(copy, layer):
    return list(zip(all_layers(copy), all_layers(layer), strict=True))


def _is_nested(operation):
    return isinstance(operation, keras.Model) and is_graph(operation)


def _make_names_unique(model):
    taken = {op.name for op in model.operations}
    for nested in [op for op in model.operations if _is_nested(op)]:
        # A Sequential model has layers only.
        for layer in getattr(nested, "operations", nested.layers):
            if INSIDE in nested.name:
                layer.name = f"{nested.name}{INSIDE}{layer.name}"
            elif layer.name in taken:
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
            Node(node, symbolic_calls(node.operation).index(node))
            for node in ordered_calls(model)
        ]
        self.outputs = {id(tensor) for tensor in model.outputs}
        self._makers = {id(t): node for node in self.nodes for t in node.outputs}
        self._consumers = {}
        for node in self.nodes:
            for tensor in node.inputs:
                self._consumers.setdefault(id(tensor), []).append(node)

    def maker(self, tensor):
        """The node that a symbolic tensor is an output of; None for other values."""
        return self._makers.get(id(tensor))

    def ancestors(self, tensors):
        """Ids of the nodes that symbolic tensors of the model depend on."""
        found, waiting = set(), list(tensors)
        while waiting:
            node = self.maker(waiting.pop())
            if id(node) not in found:
                found.add(id(node))
                waiting += node.inputs
        return found

    def consumers(self, node):
        """The nodes that read an output of `node`."""
        return [n for t in node.outputs for n in self._consumers.get(id(t), [])]

    def only_consumer(self, node):
        """The only reader of the single output of `node`, or None."""
        consumers = self.consumers(node)
        leaves_model = any(id(t) in self.outputs for t in node.outputs)
        return consumers[0] if len(consumers) == 1 and not leaves_model else None


class Node:
    """One call of an operation.

    Attributes:
        operation: the layer or operation.
        index: the number of this call of it.
        arguments: positional and named, with symbolic tensors.
        inputs: the symbolic tensors among the arguments.
        outputs: symbolic tensors.
    """

    def __init__(self, node, index):
        self.operation = node.operation
        self.index = index
        self.arguments = node.arguments
        self.inputs = list(node.arguments.keras_tensors)
        self.outputs = list(node.output_tensors)

    @property
    def key(self):
        """Name of the operation and the number of this call of it."""
        return self.operation.name, self.index

    @property
    def layer(self):
        """The operation, or the inner layer of a compressed one."""
        return getattr(self.operation, "inner", self.operation)

    def run(self, operation, values):
        """The result of an operation on the arguments of this call, in inference mode.

        Args:
            operation: the node's own, or a replacement for it.
            values: `{id(symbolic tensor): value}`.
        """
        args, kwargs = self.arguments.fill_in(values)
        if isinstance(operation, keras.Layer):
            # Layers that are called on their own may assume that they train.
            kwargs = {**kwargs, "training": False}
        return operation(*args, **kwargs)

    @functools.cached_property
    def data(self):
        """The inputs without masks, such as those of `Embedding(mask_zero=True)`.

        Keras passes masks on as arguments; a layer can do without them.
        """
        if not isinstance(self.layer, keras.Layer):
            return self.inputs
        parameters = inspect.signature(self.layer.call).parameters
        masks = {
            id(tensor)
            for name, value in self.arguments.kwargs.items()
            if name.endswith("mask") and name in parameters
            if parameters[name].default is None
            for tensor in keras.tree.flatten(value)
        }
        return [tensor for tensor in self.inputs if id(tensor) not in masks]


def rewire(model, call, replace=None):
    """A copy of a flat model in which each call may be replaced.

    Args:
        model: a flat functional model.
        call: `(key, new operation, *args, **kwargs) -> outputs`, with `Node.key`.
        replace: as in `rebuild`.
    """
    counters = {}

    def counted(operation, /, *args, **kwargs):
        name = operation.name
        index = counters.get(name, 0)
        counters[name] = index + 1
        return call((name, index), operation, *args, **kwargs)

    replace = {"replace": replace} if replace else {}
    return rebuild(model, call=counted, **replace)
