"""Opens layers that are made of other layers, so that a graph shows what is inside.

A composite layer is called symbolically, which adds the calls of its inner layers and
operations to the graph in its place. Inner layers are named after all layers around them,
and variables that the composite layer itself created move to an `OwnVariables` layer of
its name, so that paths of weights, and rules, stay the same.
"""

import collections
import contextlib
import pathlib
import traceback
import weakref

import keras
import tensorflow as tf

from tfcompress.core.cloning import is_graph
from tfcompress.core.keras_internals import (
    all_layers,
    mask_of,
    producer,
    set_mask,
    symbolic_calls,
)
from tfcompress.core.symbolic_sizes import known_batch_size
from tfcompress.core.walk import INSIDE, is_compressed, own_variables, sublayers

L = keras.layers
_CLOSED = (L.RNN, L.Wrapper)
# Their own layers are known to whoever follows a graph.
_LIBRARIES = ("keras", "tfcompress")
_VARIABLE = (
    "its call() uses a variable of a layer inside other than by calling that layer"
)
_reasons = weakref.WeakKeyDictionary()


class Unopened(Exception):
    """A layer's call cannot be turned into a graph; the message says why."""


def is_composite(operation):
    """Whether an operation is a layer of someone's own that contains layers with weights.

    Layers of Keras, and those that change them by other arguments only, are not: rules
    exist for these. Nor are wrappers and recurrent layers, which call their contents in
    ways of their own.
    """
    if not isinstance(operation, keras.Layer) or is_graph(operation):
        return False
    if isinstance(operation, _CLOSED) or is_compressed(operation):
        return False
    if type(operation).call.__module__.split(".")[0] in _LIBRARIES:
        return False
    return any(inside.variables for inside in sublayers(operation))


def note_reason(layer, reason):
    """Remembers why a layer of a graph could not be opened."""
    _reasons[layer] = reason


def reason_of(layer):
    """Why a layer of a graph could not be opened; None if nobody tried."""
    return _reasons.get(layer)


class Opening:
    """Opens composite layers of one graph.

    Args:
        refusal: why no layer is to be opened, or None.

    Attributes:
        reasons: `{name of a layer that stays closed: why}`.
        opened: `{name of an OwnVariables layer: the composite layer that had these}`.
        has_opened: whether any layer was opened.
    """

    def __init__(self, refusal=None):
        self.reasons = {}
        self.opened = {}
        self.has_opened = False
        self._refusal = refusal
        self._own = {}

    def wants(self, operation):
        """Whether an operation is to be opened."""
        if not is_composite(operation) or operation.name in self.reasons:
            return False
        if self._refusal is not None:
            self.reasons[operation.name] = self._refusal
        return self._refusal is None

    def call(self, layer, /, *args, **kwargs):
        """The outputs of a composite layer, with its contents added to the graph.

        Composite layers inside it are opened as well. One that cannot be opened is called
        as a whole.
        """
        inside = [part for part in all_layers(layer) if part.variables]
        kinds = {id(part): type(part) for part in inside}
        composite = {id(part) for part in inside if is_composite(part)}
        for part in inside:
            # Calls of a shared layer share its variables.
            if id(part) in composite and id(part) not in self._own:
                self._own[id(part)] = OwnVariables.of(part)
        model_input = _model_input(_tensors((args, kwargs))[0])

        def call(part, /, *args, **kwargs):
            kind = kinds[id(part)]
            if tf.executing_eagerly() and not _tensors((args, kwargs)):
                # The result depends on weights, so it must not become a constant.
                args, kwargs = keras.tree.map_structure(
                    lambda value: _as_symbolic(value, model_input), (args, kwargs)
                )
            if id(part) not in composite or not _tensors((args, kwargs)):
                return kind.__call__(part, *args, **kwargs)
            try:
                return self._open(part, *args, **kwargs)
            except Unopened as error:
                self.reasons[part.name] = str(error)
                return kind.__call__(part, *args, **kwargs)

        for part in inside:
            kind = kinds[id(part)]
            own = {"__call__": call, "__module__": kind.__module__}
            part.__class__ = type(kind.__name__, (kind,), own)
        try:
            return layer(*args, **kwargs)
        finally:
            for part in inside:
                part.__class__ = kinds[id(part)]

    def _open(self, layer, /, *args, **kwargs):
        names = [(part, part.name) for part in all_layers(layer)]
        own = self._own[id(layer)]
        own.name = layer.name
        known = dict(self.reasons), dict(self.opened)
        try:
            name_inside(layer)
            outputs = call_inside(layer, own, *args, **kwargs)
        except Unopened:
            for part, name in names:
                part.name = name
            self.reasons, self.opened = known
            raise
        self.opened[layer.name] = layer
        self.has_opened = True
        return outputs


def _as_symbolic(value, model_input):
    """A constant tensor as one that a graph can compute."""
    if model_input is None or not tf.is_tensor(value):
        return value
    dtype = keras.backend.standardize_dtype(value.dtype)
    first = model_input[(0,) * len(model_input.shape)]
    return keras.ops.add(keras.ops.zeros_like(first, dtype=dtype), value)


def _tensors(arguments):
    """The symbolic tensors among arguments."""
    flat = keras.tree.flatten(arguments)
    return [value for value in flat if keras.backend.is_keras_tensor(value)]


def call_inside(layer, own, /, *args, **kwargs):
    """The outputs of `layer.call`, made of calls of what is inside.

    Args:
        layer: a built layer or subclassed model.
        own: the `OwnVariables` that stand for its own variables.
        *args: positional arguments of its call.
        **kwargs: named ones.

    Raises:
        Unopened: if its call uses more than Keras layers, `keras.ops` and its variables.
    """
    args, kwargs = keras.tree.map_structure(
        lambda value: _as_computed(layer, value), (args, kwargs)
    )
    tensors = _tensors((args, kwargs))
    masks = [mask_of(tensor) for tensor in tensors]
    given = dict(zip(layer.call_signature_parameters, args, strict=False)) | kwargs
    if "mask" in layer.call_signature_parameters and "mask" not in given:
        kwargs["mask"] = masks[0]
    outputs = _traced(layer, own, tensors, args, kwargs)
    if "training" in layer.call_signature_parameters and "training" not in given:
        kwargs = {**kwargs, "training": True}
        trained = _traced(layer, own, tensors, args, kwargs)
        if _kinds(tensors, outputs) != _kinds(tensors, trained):
            raise Unopened("its call() consists of other operations in training")
    if layer.supports_masking and masks[0] is not None:
        for output in _tensors(outputs):
            if mask_of(output) is None:
                set_mask(output, masks[0])
    return outputs


def _traced(layer, own, tensors, args, kwargs):
    try:
        with (
            _plain_errors(),
            own.standing_in(layer, tensors[0]),
            _unreadable(layer.variables),
            known_batch_size(_model_input(tensors[0])),
        ):
            outputs = layer.call(*args, **kwargs)
    except Exception as error:
        # Users' code may raise anything.
        reason = f"{_place(error)} cannot be traced ({_first_line(error)})"
        raise Unopened(reason) from error
    _check(layer, tensors, outputs)
    return outputs


def _kinds(inputs, outputs):
    """How often each layer and each kind of operation is called between tensors."""
    operations = [call.operation for call in _calls_between(inputs, _tensors(outputs))]
    return collections.Counter(
        operation.name if isinstance(operation, keras.Layer) else type(operation)
        for operation in operations
    )


def _as_computed(layer, value):
    """An argument in the precision in which Keras passes it to `call`."""
    if not keras.backend.is_keras_tensor(value) or not layer.autocast:
        return value
    is_float = keras.backend.is_float_dtype(value.dtype)
    if not is_float or value.dtype == layer.compute_dtype:
        return value
    cast = keras.ops.cast(value, layer.compute_dtype)
    set_mask(cast, mask_of(value))
    return cast


@contextlib.contextmanager
def _plain_errors():
    """Within it, Keras adds nothing to messages."""
    is_filtered = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()
    try:
        yield
    finally:
        if is_filtered:
            keras.config.enable_traceback_filtering()


def _unreadable(variables):
    """Within it, reading the values of variables gives nothing to compute with.

    Otherwise, results of operations on weights alone would become constants.
    """
    scope = keras.StatelessScope()
    for variable in variables:
        scope.add_update((variable, keras.KerasTensor(variable.shape, variable.dtype)))
    return scope


def _model_input(tensor):
    """An input of the model that leads to a tensor."""
    seen, stack = set(), [tensor]
    while stack:
        source = producer(stack.pop())
        if source is None or id(source) in seen:
            continue
        seen.add(id(source))
        if isinstance(source, L.InputLayer):
            return source.output
        stack += [t for call in symbolic_calls(source) for t in call.input_tensors]
    return None


def _check(layer, inputs, outputs):
    """Raises if a graph from inputs to outputs lacks something of the layer."""
    flat = [output for output in keras.tree.flatten(outputs) if output is not None]
    if not all(map(keras.backend.is_keras_tensor, flat)):
        raise Unopened("an output of its call() is a constant")
    known = {id(variable) for variable in layer.variables}
    for call in _calls_between(inputs, flat):
        for value in keras.tree.flatten((call.arguments.args, call.arguments.kwargs)):
            if id(value) in known:
                raise Unopened(_VARIABLE)


def _calls_between(inputs, outputs):
    ends, seen, stack = {id(tensor) for tensor in inputs}, set(), list(outputs)
    while stack:
        tensor = stack.pop()
        if id(tensor) in ends or id(tensor) in seen:
            continue
        seen.add(id(tensor))
        source = producer(tensor)
        if source is None:
            # It stood for a variable.
            raise Unopened(_VARIABLE)
        for call in symbolic_calls(source):
            if any(output is tensor for output in call.output_tensors):
                yield call
                stack += call.input_tensors


def name_inside(layer):
    """Names the layers directly inside of a layer after it, unless they have been."""
    taken = set()
    for inside in sublayers(layer):
        if INSIDE in inside.name:
            # It is in several layers, of which one has named it, or called several times.
            continue
        name, number = inside.name, 1
        while name in taken:
            number += 1
            name = f"{inside.name}_{number}"
        taken.add(name)
        inside.name = f"{layer.name}{INSIDE}{name}"


def _place(error):
    """The last line of the user's code that led to an error."""
    packages = pathlib.Path(keras.__file__).parents[1]
    others = [packages / name for name in ("keras", "tensorflow", "numpy")]
    libraries = (*map(str, others), str(pathlib.Path(__file__).parents[1]))
    frames = traceback.extract_tb(error.__traceback__)[1:]
    own = [frame for frame in frames if not frame.filename.startswith(libraries)]
    if not own:
        return "its call()"
    return f"{own[-1].line!r} ({pathlib.Path(own[-1].filename).name}:{own[-1].lineno})"


def _first_line(error):
    return next((line for line in str(error).splitlines() if line.strip()), "no reason")


@keras.saving.register_keras_serializable("tfcompress")
class OwnVariables(L.Layer):
    """Outputs variables, whatever its input is.

    In a graph that shows the inside of a composite layer, it holds the variables that
    the composite layer itself created, such as tables of positions.

    Args:
        specs: `[{"name", "shape", "dtype", "trainable"}]` of the variables.
    """

    def __init__(self, specs, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.specs = [dict(spec) for spec in specs]
        self.held = [
            self.add_weight(
                name=spec["name"],
                shape=tuple(spec["shape"]),
                dtype=spec["dtype"],
                trainable=spec["trainable"],
                initializer="zeros",
            )
            for spec in self.specs
        ]
        self.built = True

    @classmethod
    def of(cls, layer):
        """Holds copies of the variables that are attributes of a layer."""
        own = {id(variable) for variable in own_variables(layer)}
        found = [v for v in _attributes(layer).values() if id(v) in own]
        variables = list({id(v): v for v in found}.values())
        made = cls(
            [
                {
                    "name": variable.name,
                    "shape": list(variable.shape),
                    "dtype": variable.dtype,
                    "trainable": variable.trainable,
                }
                for variable in variables
            ],
            name=layer.name,
            dtype=layer.dtype_policy,
        )
        for held, variable in zip(made.held, variables, strict=True):
            held.assign(variable.value)
        made.trainable = layer.trainable
        return made

    def variables_of(self, layer):
        """The variables of a layer that these stand for, in their order."""
        own = {id(variable) for variable in own_variables(layer)}
        found = [v for v in _attributes(layer).values() if id(v) in own]
        return list({id(v): v for v in found}.values())

    @contextlib.contextmanager
    def standing_in(self, layer, tensor):
        """Within it, attributes of a layer are symbolic tensors instead of variables.

        Args:
            layer: the layer that this one was made of, or a copy of it.
            tensor: a tensor of the graph, to which the tensors are to belong.
        """
        if not self.held:
            yield
            return
        originals = self.variables_of(layer)
        values = dict(zip(map(id, originals), self(tensor), strict=True))
        known = {k: v for k, v in _attributes(layer).items() if id(v) in values}
        vars(layer).update({name: values[id(v)] for name, v in known.items()})
        try:
            yield
        finally:
            vars(layer).update(known)

    def call(self, inputs):
        return tuple(
            keras.ops.cast(variable, self._dtype_of(variable)) for variable in self.held
        )

    def compute_output_spec(self, inputs):
        return tuple(keras.KerasTensor(v.shape, self._dtype_of(v)) for v in self.held)

    def compute_mask(self, inputs, previous_mask=None):
        return None

    def _dtype_of(self, variable):
        is_float = keras.backend.is_float_dtype(variable.dtype)
        return self.compute_dtype if is_float else variable.dtype

    def get_config(self):
        return {**super().get_config(), "specs": self.specs}


def _attributes(layer):
    """`{name: variable}` of the attributes of a layer."""
    return {k: v for k, v in vars(layer).items() if isinstance(v, keras.Variable)}


def paired_variables(copy, layer):
    """Pairs of a variable of a layer in an opened graph and that of the model."""
    if isinstance(copy, OwnVariables) and not isinstance(layer, OwnVariables):
        return list(zip(copy.held, copy.variables_of(layer), strict=True))
    inside = [getattr(one, "inner", one).variables for one in (copy, layer)]
    return list(zip(*inside, strict=True))
