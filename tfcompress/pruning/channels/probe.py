"""Operations without a rule are run on some of the channels to see what they do.

If an operation treats channels alike and independently of each other, then its output
for half of the channels is that half of its output for all. So activations,
normalization with fixed statistics, pooling, padding, sums of tensors, scale layers and
users' own layers need no list of names.

Normalization over channels treats them alike, but not independently. It is recognised by
channels that are there twice: means over them stay the same, and so do the outputs.
"""

import dataclasses

import keras
import numpy as np

from tfcompress.core.cloning import remake
from tfcompress.pruning.channels.trace import Axis, Use

_SIZE_OF_UNKNOWN_AXIS = 8
# This many rows and columns of an image show as much as all of them.
_ENOUGH = 16


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """What an operation does to the channels along an axis.

    Attributes:
        axis: their axis in the output.
        weights: `{position in the layer's variables: axis}` of the weights that belong
            to them.
        keys: the keys of the layer's configuration that contain their number.
        takes_means: whether outputs depend on means over all channels.
    """

    axis: int
    weights: dict
    keys: tuple
    takes_means: bool = False


class NotFollowed(Exception):
    """The effect of an operation on channels was not recognized."""


def follow(call, cache):
    """The outputs of an operation without a rule.

    Args:
        call: the `Call`.
        cache: a dictionary that stores what was learned about equal operations.
    """
    if not any(x.axes for x in call.inputs):
        reason = next((x.reason for x in call.inputs), "has no channels")
        return call.outputs({}, reason)
    if len(call.shapes) != 1:
        return call.leave_whole("has several outputs and no rule")
    axes = {}
    for place in sorted({axis - x.rank for x in call.inputs for axis in x.axes}):
        try:
            behaviour = _behaviour(call, place, cache)
        except NotFollowed as error:
            _fix(call, place, str(error))
            continue
        axes[behaviour.axis] = _through(call, place, behaviour)
    return call.outputs(axes)


def _fix(call, place, problem):
    reason = f"{call.name} ({type(call.layer).__name__}) {problem}"
    for x in call.inputs:
        if x.rank + place in x.axes:
            call.trace.fix(x.axes[x.rank + place].ids, reason)
    call.trace.unfollowed.setdefault(call.name, reason)


def _through(call, place, behaviour):
    carriers = _carriers(call, place)
    first, *others = [call.trace.axis(x, place) for x in carriers]
    for other in others:
        call.trace.tie(first.ids, other.ids)
    for x in call.inputs:
        if x.rank + place in x.axes and all(x is not carrier for carrier in carriers):
            call.trace.fix(x.axes[x.rank + place].ids, f"{call.name} spreads it")
    variables = getattr(call.layer, "variables", [])
    for position, axis in behaviour.weights.items():
        call.along(variables[position], axis, first.ids)
    for key in behaviour.keys:
        call.resize(key, first.ids)
    if behaviour.takes_means:
        call.trace.uses.append(Use(first.ids, first.constant, is_linear=False))
        return Axis(first.ids, np.full(first.ids.size, np.nan))
    return Axis(first.ids, _constant(call, place, [first, *others], behaviour.axis))


def _carriers(call, place):
    """The inputs that have the channels; others are broadcast along them."""
    size = _size(call, place)
    return [x for x in call.inputs if x.rank >= -place and x.shape[place] == size]


def _size(call, place):
    return max(x.shape[place] or 1 for x in call.inputs if x.rank >= -place)


def _behaviour(call, place, cache):
    """What is known about equal operations, or measured, if possible on small inputs."""
    small = [_shape(x, place, _ENOUGH) for x in call.inputs]
    whole = [_shape(x, place, None) for x in call.inputs]
    try:
        return _cached(call, place, small, cache)
    except NotFollowed:
        if small == whole:
            raise
    return _cached(call, place, whole, cache)


def _shape(tensor, place, limit):
    """The shape for a trial: without unknown sizes, and no larger than necessary."""
    sizes = [
        size or (_SIZE_OF_UNKNOWN_AXIS if axis else 1)
        for axis, size in enumerate(tensor.shape)
    ]
    return [
        size if limit is None or axis == tensor.rank + place else min(size, limit)
        for axis, size in enumerate(sizes)
    ]


def _cached(call, place, shapes, cache):
    arguments = call.node.arguments.fill_in({id(t): "tensor" for t in call.node.data})
    try:
        config = call.layer.get_config()
    except Exception as error:  # Users' code may fail in any way.
        raise NotFollowed("cannot be recreated from get_config()") from error
    config = {k: v for k, v in config.items() if k != "name"}
    key = repr((type(call.layer), config, shapes, place, arguments))
    if key not in cache:
        try:
            cache[key] = _probe(call, place, shapes)
        except NotFollowed as error:
            cache[key] = error
    if isinstance(cache[key], NotFollowed):
        raise cache[key]
    return cache[key]


def _probe(call, place, shapes):
    size = _size(call, place)
    if size < 2:
        raise NotFollowed("has only one channel")
    generator = np.random.default_rng(0)
    arrays = [
        _random(generator, tensor.dtype, shape)
        for tensor, shape in zip(call.node.data, shapes, strict=True)
    ]
    config = call.layer.get_config()
    keys = tuple(k for k, v in config.items() if v == size and isinstance(v, int))
    try:
        whole, expected = _run(call, config, arrays)
    except Exception as error:  # Users' code may fail in any way.
        raise NotFollowed(f"cannot be tried ({type(error).__name__})") from error
    for weight in _floats(whole):
        weight.assign(generator.uniform(0.5, 1.5, weight.shape))
    expected = _run(call, whole, arrays)[1] if _floats(whole) else expected
    problem = "mixes channels"
    for changed in dict.fromkeys([(), keys]):
        try:
            found = [
                _on_part(call, place, config, changed, arrays, whole, expected, kept)
                for kept in _parts(size)
            ]
        except Exception as error:  # Users' code may fail in any way.
            problem = f"does not work on fewer channels ({type(error).__name__})"
            continue
        if found[0] is not None and found[0] == found[1]:
            axis, weights = found[0]
            return Behaviour(axis, weights, changed)
    if problem == "mixes channels":
        for changed in dict.fromkeys([(), keys]):
            behaviour = _taking_means(call, place, config, changed, arrays)
            if behaviour is not None:
                return behaviour
    raise NotFollowed(problem)


def _parts(size):
    """Two halves of the channels: every second one, and the last ones.

    One is not enough: every second channel of a rotary head rotates like a smaller head.
    """
    first = np.arange(0, size, 2) if size > 3 else np.arange(size - 1)
    return first, np.arange(size - first.size, size)


def _on_part(call, place, config, keys, arrays, whole, expected, kept):
    """The axis of the channels in the output, and those of weights that belong to them.

    None if the output for some channels is not that part of the output for all.
    """
    carriers = {id(x) for x in _carriers(call, place)}
    part = [
        np.take(array, kept, axis=place) if id(x) in carriers else array
        for x, array in zip(call.inputs, arrays, strict=True)
    ]
    layer, found = _run(call, config | dict.fromkeys(keys, kept.size), part)
    weights = _slice_weights(whole, layer, kept)
    if weights is None:
        return None
    found = _run(call, layer, part)[1]
    axis = _only_difference(expected.shape, found.shape)
    if axis is None or expected.shape[axis] != _size(call, place):
        return None
    expected = np.take(expected, kept, axis=axis)
    agree = expected.shape == found.shape and np.allclose(expected, found, 1e-4, 1e-5)
    return (axis, weights) if agree else None


def _taking_means(call, place, config, keys, arrays):
    """The `Behaviour` of an operation that only takes means over channels, or None."""
    size = _size(call, place)
    few, carriers = size // 2, {id(x) for x in _carriers(call, place)}

    def run(order, layer=None):
        inputs = [
            np.take(array, order, axis=place) if id(x) in carriers else array
            for x, array in zip(call.inputs, arrays, strict=True)
        ]
        resized = config | dict.fromkeys(keys, len(order))
        return _run(call, resized if layer is None else layer, inputs)

    order = np.arange(few)
    try:
        once, twice = run(order)[0], run(np.tile(order, 2))[0]
        values = _random_weights(once)
        weights = {}
        for position, (value, new) in enumerate(
            zip(values, getattr(twice, "variables", ()), strict=True)
        ):
            if value.shape != tuple(new.shape):
                weights[position] = _only_difference(value.shape, new.shape)
                value = np.concatenate([value, value], axis=weights[position])
            new.assign(value)
        expected, doubled = run(order, once)[1], run(np.tile(order, 2), twice)[1]
        for position, axis in weights.items():
            once.variables[position].assign(np.flip(values[position], axis))
        reversed_ = run(order[::-1], once)[1]
    except Exception:  # Users' code may fail in any way.
        return None
    axis = _only_difference(expected.shape, doubled.shape)
    if axis is None or expected.shape[axis] != few:
        return None
    same = np.allclose(np.concatenate([expected] * 2, axis), doubled, 1e-3, 1e-5)
    alike = np.allclose(np.flip(expected, axis), reversed_, 1e-3, 1e-5)
    return Behaviour(axis, weights, keys, True) if same and alike else None


def _random_weights(layer):
    """Gives a layer random weights and returns all its variables' values."""
    generator = np.random.default_rng(1)
    for weight in _floats(layer):
        weight.assign(generator.uniform(0.5, 1.5, weight.shape))
    return [variable.numpy() for variable in getattr(layer, "variables", ())]


def _random(generator, dtype, shape):
    if keras.backend.is_float_dtype(dtype):
        return generator.normal(size=shape).astype("float32")
    return generator.integers(0, 2, shape).astype(dtype)


def _run(call, operation, arrays):
    """The operation (recreated from its configuration if necessary) and its output."""
    if isinstance(operation, dict):
        operation = remake(call.layer, operation)
    values = {id(t): a for t, a in zip(call.node.data, arrays, strict=True)}
    return operation, np.asarray(call.node.run(operation, values))


def _floats(layer):
    return [
        v
        for v in getattr(layer, "variables", [])
        if keras.backend.is_float_dtype(v.dtype)
    ]


def _slice_weights(whole, part, kept):
    """Gives `part` its share of weights; returns `{position: axis}` of those cut."""
    weights = {}
    for position, (old, new) in enumerate(
        zip(
            getattr(whole, "variables", []), getattr(part, "variables", []), strict=True
        )
    ):
        value = old.numpy()
        if old.shape != new.shape:
            axis = _only_difference(old.shape, new.shape)
            if axis is None or new.shape[axis] != kept.size:
                return None
            value, weights[position] = np.take(value, kept, axis=axis), axis
        new.assign(value)
    return weights


def _only_difference(shape, other):
    """The only axis whose sizes differ, None if there is not exactly one."""
    if len(shape) != len(other):
        return None
    axes = [i for i, (a, b) in enumerate(zip(shape, other, strict=True)) if a != b]
    return axes[0] if len(axes) == 1 else None


def _constant(call, place, channels, axis):
    """Values of channels that are constant after the operation."""
    unknown = np.full(channels[0].ids.size, np.nan)
    if not call.trace.with_constants:
        return unknown
    constants = np.array([c.constant for c in channels])
    known = ~np.isnan(constants).any(axis=0) & (len(channels) == len(call.inputs))
    if type(call.layer).__name__ == "Multiply":
        known |= (constants == 0).any(axis=0)
    if isinstance(call.layer, keras.layers.BatchNormalization) and call.layer.scale:
        # Only the offset is left of them.
        known |= call.layer.gamma.numpy() == 0
    if not known.any():
        return unknown
    values = iter(np.nan_to_num(constants))
    arrays = []
    for x, tensor in zip(call.inputs, call.node.data, strict=True):
        array = np.zeros(_shape(x, place, None), tensor.dtype)
        if any(x is carrier for carrier in _carriers(call, place)):
            shape = [-1 if a == x.rank + place else 1 for a in range(x.rank)]
            array = array + next(values).reshape(shape).astype(array.dtype)
        arrays.append(array)
    output = np.moveaxis(_run(call, call.layer, arrays)[1], axis, 0)
    rows = output.reshape(output.shape[0], -1)
    same = np.isclose(rows, rows[:, :1], 1e-6, 1e-7).all(axis=1)
    return np.where(known & same, rows[:, 0], np.nan)
