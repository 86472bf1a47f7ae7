"""The graph of a model for the converter."""

import functools
import itertools
import keyword
import math

import keras
import tensorflow as tf

from tfcompress.core.behaviour import kept_states
from tfcompress.core.cloning import is_graph
from tfcompress.core.keras_internals import exact_scopes, plain_operations, producer
from tfcompress.core.macs import input_specs
from tfcompress.core.substituted import call_substituted

# Constants are fast to convert, but the converter copies them about ten times.
_MOST_CONSTANT_BYTES = 100 * 2**20


def inference_function(model, values=None, batch_size=1):
    """Traces `model` for inference.

    The states of stateful layers are variables of the graph, which start with their
    current values.

    Args:
        model: a built Keras model in float32.
        values: `{id(variable): tensor function}`, called in the graph for variables
            that stand for something other than their plain value.
        batch_size: batch size of the traced inputs, unless the model has a fixed one; None
            for any.

    Returns:
        A `tf.ConcreteFunction` with named inputs and outputs, and the `tf.Module` that
        holds its variables: states, and weights if they exceed 100 MB; otherwise weights
        are constants of the graph.

    Raises:
        ValueError: if an input has an unknown size.
    """
    specs, module = named_specs(model, batch_size), tf.Module()
    values = dict(values or {})
    variables, states = model.variables, kept_states(model)
    module.states = [state.value for state in states]
    if (
        sum(v.value.dtype.size * math.prod(v.shape) for v in variables)
        > _MOST_CONSTANT_BYTES
    ):
        module.held = [v.value for v in variables]
    else:
        arrays = {id(v): v.numpy() for v in variables}
        values = {
            k: functools.partial(tf.constant, a) for k, a in arrays.items()
        } | values

    def forward(**inputs):
        made = {key: value() for key, value in values.items()}
        with plain_operations(), exact_scopes():
            called = call_substituted(
                model, made, structured(model, inputs), training=False
            )
        new = {id(variable): value for variable, value in called.updates}
        for state in states:
            state.value.assign(new.get(id(state), state.value))
        return named_outputs(model, called.outputs)

    traced = tf.function(forward, autograph=False)
    return traced.get_concrete_function(**specs), module


def named_specs(model, batch_size=1):
    """`{name: tf.TensorSpec}` of the inputs, in order.

    Raises:
        ValueError: if a size other than the batch is unknown.
    """
    specs = keras.tree.flatten(input_specs(model, batch_size))
    named, names = {}, _identifiers(spec.name or "inputs" for spec in specs)
    for name, spec in zip(names, specs, strict=True):
        if None in spec.shape[1:]:
            raise ValueError(
                f"Input {name!r} of model {model.name!r} has shape "
                f"{tuple(spec.shape)} with unknown sizes; a TFLite file needs fixed "
                "sizes. Rebuild the model on a keras.Input of the wanted size."
            )
        named[name] = tf.TensorSpec(spec.shape, spec.dtype, name)
    return named


def structured(model, inputs):
    """Named inputs in the structure in which the model takes them."""
    # Not in the given order: functions sort their arguments by name.
    ordered = [inputs[name] for name in named_specs(model)]
    return keras.tree.pack_sequence_as(input_specs(model), ordered)


def named_outputs(model, outputs):
    """`{name: tensor}` of the outputs."""
    if isinstance(outputs, dict):
        return dict(zip(_identifiers(outputs), outputs.values(), strict=True))
    flat = keras.tree.flatten(outputs)
    names = [producer(tensor).name for tensor in _outputs(model)]
    if len(set(names)) != len(flat):
        names = [f"output_{i}" for i in range(len(flat))]
    return dict(zip(_identifiers(names), flat, strict=True))


def _outputs(model):
    return model.outputs if is_graph(model) else []


def _identifiers(names):
    """Unique names that a file can hold: `a-1` and `a_1` become `a_1` and `a_1_2`."""
    known = []
    for name in map(_identifier, names):
        numbered = (f"{name}_{number}" for number in itertools.count(2))
        known.append(
            next(n for n in itertools.chain([name], numbered) if n not in known)
        )
    return known


def _identifier(name):
    name = "".join(c if c.isalnum() else "_" for c in name)
    is_usable = name.isidentifier() and not keyword.iskeyword(name)
    # Functions strip a leading underscore.
    return name if is_usable and name[0] != "_" else f"tensor_{name}"
