"""The outputs of models, as logits."""

import keras
import numpy as np
from keras import ops

from tfcompress.core.behaviour import is_fake_quant
from tfcompress.core.cloning import is_graph
from tfcompress.core.keras_internals import producer
from tfcompress.core.samples import random_inputs

# Tolerance of a sum of probabilities, which may be rounded.
_TOLERANCE = 0.01


def output_kinds(model, outputs):
    """The kind of each output of a model: "logits", "softmax" or "sigmoid".

    A softmax is recognised in the graph, or else by its values, which sum to one; a
    sigmoid only in the graph. Everything else counts as logits, including regression.

    Args:
        model: a Keras model.
        outputs: what it returned for some inputs.

    >>> model = keras.Sequential([
    ...     keras.Input((4,)), keras.layers.Dense(3, activation="softmax")
    ... ])
    >>> output_kinds(model, model(np.ones((2, 4))))
    ['softmax']
    """
    flat = keras.tree.flatten(outputs)
    return [
        name
        if name in ("softmax", "sigmoid")
        else "softmax"
        if sums_to_one(output)
        else "logits"
        for name, output in zip(_last_activations(model, len(flat)), flat, strict=True)
    ]


def ends_in_softmax(model):
    """Whether a model returns class probabilities; it is run if it has no graph.

    >>> ends_in_softmax(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]))
    False
    """
    if is_graph(getattr(model, "inner", model)):
        return "softmax" in _last_activations(model, 1)
    outputs = model(random_inputs(model, batch_size=2), training=False)
    return "softmax" in output_kinds(model, outputs)


def sums_to_one(output):
    """Whether the last axis holds class probabilities.

    >>> sums_to_one(np.array([[0.2, 0.8]])), sums_to_one(np.array([[0.2, 0.9]]))
    (True, False)
    """
    output = np.asarray(output, np.float32)
    return (
        output.ndim > 1
        and output.shape[-1] > 1
        and bool(np.all(output >= 0))
        and bool(np.all(np.abs(output.sum(-1) - 1) < _TOLERANCE))
    )


def _last_activations(model, count):
    inner = getattr(model, "inner", model)
    if isinstance(inner, keras.Function):
        last = map(_last_operation, keras.tree.flatten(inner.outputs))
    else:
        layers = [layer for layer in inner.layers if not is_fake_quant(layer)]
        last = (layers[-1:] or [None]) * count
    return [_activation(operation) for operation in last]


def _last_operation(tensor):
    operation = producer(tensor)
    return _last_operation(operation.input) if is_fake_quant(operation) else operation


def _activation(operation):
    operation = getattr(operation, "inner", operation)
    if isinstance(operation, keras.Model):
        return _last_activations(operation, 1)[0]
    activation = getattr(operation, "activation", operation)
    return getattr(activation, "__name__", type(activation).__name__).lower()


def to_logits(output, kind):
    """Float32 logits of an output.

        softmax p: log p, up to a constant;  sigmoid p: log p - log(1 - p)

    Several sigmoids get a last axis of one unit, since each is a separate choice.

    >>> np.round(to_logits(np.array([[0.25, 0.75]]), "softmax"), 3)
    array([[-1.386, -0.288]], dtype=float32)
    >>> np.round(to_logits(np.array([[0.25, 0.75]]), "sigmoid"), 3)[..., 0]
    array([[-1.099,  1.099]], dtype=float32)
    """
    output = ops.cast(output, "float32")
    if kind == "softmax":
        return _log(output)
    if kind == "sigmoid":
        odds = _log(output) - _log(1 - output)
        return ops.expand_dims(odds, -1) if output.shape[-1] > 1 else odds
    return output


def _log(probabilities):
    return ops.log(ops.maximum(probabilities, keras.config.epsilon()))


def flat_like(values, outputs):
    """The leaves of `values` in the order of those of `outputs`.

    Raises:
        ValueError: if the names or the number of outputs differ.

    >>> flat_like({"b": 2, "a": 1}, {"a": 0.0, "b": 0.0})
    [1, 2]
    """
    flat, count = keras.tree.flatten(values), len(keras.tree.flatten(outputs))
    are_named = isinstance(values, dict) and isinstance(outputs, dict)
    if count > 1 and are_named and set(values) != set(outputs):
        raise ValueError(
            f"The teacher has the outputs {sorted(values)}, the student "
            f"{sorted(outputs)}: both need the same names."
        )
    if len(flat) != count:
        raise ValueError(
            f"The teacher has {len(flat)} outputs, the student {count}: both need the "
            "same."
        )
    return flat


def output_names(model, outputs):
    """A name for each output: its key, its layer's name, or its number.

    >>> a, b = (keras.layers.Dense(2, name=name) for name in "ab")
    >>> x = keras.Input((4,))
    >>> model = keras.Model(x, [a(x), b(x)])
    >>> output_names(model, model(np.ones((1, 4))))
    ['a', 'b']
    """
    if isinstance(outputs, dict):
        return sorted(outputs)
    count = len(keras.tree.flatten(outputs))
    names = list(getattr(getattr(model, "inner", model), "output_names", ()))
    return names if len(names) == count else [f"output_{i}" for i in range(count)]


def parts_like(value, outputs):
    """Labels or sample weights as a list with one entry per output.

    A single one applies to all outputs.

    >>> parts_like({"b": 2, "a": 1}, {"a": 0.0, "b": 0.0}), parts_like(None, [0.0, 0.0])
    ([1, 2], [None, None])
    """
    count = len(keras.tree.flatten(outputs))
    if isinstance(value, dict) and isinstance(outputs, dict):
        return [value.get(name) for name in sorted(outputs)]
    if isinstance(value, (list, tuple)) and len(value) == count:
        return list(value)
    return [value] * count


def checked_logits(taught, own):
    """Soft labels as a list of float32 logits.

    Raises:
        ValueError: if their shapes are not those of the student's logits, `own`.
    """
    flat = [ops.cast(part, "float32") for part in keras.tree.flatten(taught)]
    if [p.shape[1:] for p in flat] != [p.shape[1:] for p in own]:
        raise ValueError(
            f"The soft labels have the shapes {[tuple(p.shape) for p in flat]}, the "
            f"student's outputs {[tuple(p.shape) for p in own]}: both need the same "
            "classes."
        )
    return flat
