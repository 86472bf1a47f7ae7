"""Deep copies of layers that cannot be recreated from a configuration."""

import functools
import io
import pickle
import types

import keras
import tensorflow as tf

from tfcompress.core.keras_internals import (
    all_layers,
    blank,
    copied_variable,
    is_stateful,
    is_tracker,
    lasting_attributes,
    track_again,
)
from tfcompress.core.recording import StandIn

_CODE = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType)
# Their objects are shared, unless training changes their state.
_LIBRARIES = ("keras", "tensorflow", "numpy")


class Copies(dict):
    """`{id(layer or variable): its copy}` of objects that are copied together."""

    def __init__(self, *args):
        super().__init__(*args)
        self._alive = []
        self._outermost = set()

    def note(self, layer, copy):
        """Adds a layer and everything inside it."""
        self._outermost.add(id(layer))
        for old, new in zip(_parts(layer), _parts(copy), strict=True):
            self[id(old)] = new
            self._alive.append(old)

    def has_inside(self, layer):
        """Whether a layer was copied as part of another one."""
        return id(layer) in self and id(layer) not in self._outermost

    def has_part_of(self, layer):
        """Whether a part of a layer was copied on its own or as part of another one."""
        if id(layer) in self._outermost:
            return False
        return any(id(part) in self for part in _parts(layer))


def _parts(layer):
    if not isinstance(layer, keras.Layer):
        return [layer]
    return [*all_layers(layer), *layer.variables]


def duplicate(thing, copies):
    """A copy of a layer, attribute by attribute, without its constructor.

    Layers, variables, metrics and seeds inside it are copied, and so are containers and
    user-defined objects. Functions, arrays, optimizers and objects that cannot be
    copied are shared. A copied model is not compiled.

    Args:
        thing: a layer, a subclassed model, or a container of these.
        copies: the `Copies` made before, which the copy refers to; objects that this
            call copies are added to it.

    Raises:
        TypeError: if it contains a function that refers to layers or variables: the
            copy would keep using those of the original.

    >>> class Twice(keras.layers.Layer):
    ...     def __init__(self, inner):
    ...         super().__init__()
    ...         self.inner = inner
    ...
    ...     def call(self, x):
    ...         return 2.0 * self.inner(x)
    >>> layer = Twice(keras.layers.Dense(1))
    >>> y = layer(np.ones((1, 2)))
    >>> copy = duplicate(layer, Copies())
    >>> bool(np.array_equal(copy(np.ones((1, 2))), y)), copy.inner is layer.inner
    (True, False)
    """
    file = io.BytesIO()
    writer = _Writer(file, copies)
    writer.dump(thing)
    file.seek(0)
    copy = _Reader(file, writer.passed).load()
    for old, new in zip(writer.read, writer.made, strict=True):
        copies[id(old)] = new
        if is_tracker(new):
            track_again(new)
    return copy


class _Writer(pickle.Pickler):
    """Records the structure of objects; those that hold numbers or code are passed on."""

    def __init__(self, file, copies):
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.copies = copies
        self.passed, self.read, self.made = [], [], []
        self._make = functools.partial(_make, self.made)

    def persistent_id(self, obj):
        """The position in `passed` of an object that is shared or was copied before."""
        if id(obj) in self.copies:
            return self._pass_on(self.copies[id(obj)])
        if isinstance(obj, (keras.Variable, tf.Variable)):
            self.copies[id(obj)] = copied_variable(obj)
            return self._pass_on(self.copies[id(obj)])
        _check_function(obj)
        return self._pass_on(obj) if self._is_shared(obj) else None

    def reducer_override(self, obj):
        """How to recreate objects with custom pickling, or without any."""
        if is_stateful(obj):
            self.read.append(obj)
            return self._make, (type(obj),), _attributes(obj), None, None, _set
        if not hasattr(obj, "tracker"):
            return NotImplemented
        # Keras' containers track what is added to them once they have a tracker.
        if isinstance(obj, dict):
            return type(obj), (), vars(obj), None, iter(obj.items()), _set
        return type(obj), (list(obj),), vars(obj), None, None, _set

    def _pass_on(self, obj):
        self.passed.append(obj)
        return len(self.passed)

    def _is_shared(self, obj):
        if obj is self._make or isinstance(obj, _CODE):
            return True
        if isinstance(obj, keras.optimizers.Optimizer):
            return True
        if is_stateful(obj) or hasattr(obj, "tracker"):
            return False
        if type(obj).__module__.split(".")[0] in _LIBRARIES:
            return True
        return not _can_be_pickled(obj)


class _Reader(pickle.Unpickler):
    def __init__(self, file, passed):
        super().__init__(file)
        self.passed = passed

    def persistent_load(self, place):
        return self.passed[place - 1]


def _attributes(obj):
    attributes = lasting_attributes(obj)
    return {k: v for k, v in attributes.items() if not isinstance(v, StandIn)}


def _make(made, kind):
    made.append(blank(kind))
    return made[-1]


def _set(obj, attributes):
    vars(obj).update(attributes)


def _can_be_pickled(obj):
    try:
        obj.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    except TypeError:
        return False
    return True


def _check_function(obj):
    """Raises for a function that would lead from the copy to the original."""
    if not isinstance(obj, types.FunctionType):
        return
    held = [cell.cell_contents for cell in obj.__closure__ or () if _is_filled(cell)]
    for part in keras.tree.flatten(held):
        if isinstance(part, (keras.Operation, keras.Variable, tf.Variable)):
            raise TypeError(
                f"it has the function {obj.__name__!r}, which refers to {part.name!r}"
            )


def _is_filled(cell):
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
