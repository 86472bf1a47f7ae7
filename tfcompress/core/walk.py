"""One walk over the layers and weights of any Keras model."""

import collections
import dataclasses
import math

import keras

from tfcompress.core.keras_internals import all_layers, direct_layers, is_state
from tfcompress.core.layout import Layout, layout

_NORMALIZATION = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.UnitNormalization,
    keras.layers.RMSNormalization,
    keras.layers.Normalization,
)
# Separates the names of layers, outermost first, in the name of a layer that was inside
# others; Keras accepts no slash in names.
INSIDE = ">"
_NOT_KERNELS = {"bias", "gamma", "beta", "alpha"}


@dataclasses.dataclass(frozen=True)
class WeightRef:
    """A variable together with the layers that lead to it.

    Attributes:
        path: its name everywhere: the names of the layers on the way, without the
            outermost and without wrappers of compressed layers, and its own, such as
            `block1/conv/kernel`; duplicates are numbered.
        index: position in the variables of the layer that the walk started from; it
            stays the same when the layer is recreated from its configuration.
        variable: the Keras variable.
        owners: the layers on the way, outermost first; the last one owns the variable.
    """

    path: str
    index: int
    variable: keras.Variable
    owners: tuple

    @property
    def owner(self):
        """The layer that created the variable."""
        return self.owners[-1]

    @property
    def layout(self) -> Layout:
        """The layout of the variable's axes."""
        return layout(self.owner, self.variable)

    @property
    def is_kernel(self):
        """Whether a rule covers it without naming it.

        Excluded are biases, weights that normalize or scale single channels, and state.
        """
        return (
            len(self.variable.shape) >= 2
            and self.variable.name not in _NOT_KERNELS
            and not isinstance(self.owner, _NORMALIZATION)
            and not _scales_channels(self.owner, self.variable)
            and not is_state(self.owner, self.variable)
            and keras.backend.is_float_dtype(self.variable.dtype)
        )


def _scales_channels(layer, weight):
    """Whether it is a depthwise kernel of size 1, which only scales channels."""
    is_depthwise = isinstance(
        layer, (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
    )
    return is_depthwise and math.prod(weight.shape) == weight.shape[-2]


def sublayers(layer):
    """The layers directly inside a layer, each once."""
    return direct_layers(layer)


def own_variables(layer):
    """The variables that the layer itself created."""
    inner = {id(v) for sub in sublayers(layer) for v in sub.variables}
    return [v for v in layer.variables if id(v) not in inner]


def weight_refs(layer):
    """A `WeightRef` for each floating-point weight of a layer or model.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="d")])
    >>> [ref.path for ref in weight_refs(model)]
    ['d/kernel', 'd/bias']
    """
    positions = {id(v): i for i, v in enumerate(layer.variables)}
    refs, seen, paths = [], set(), set()

    def visit(current, owners):
        owners = (*owners, current)
        for variable in own_variables(current):
            if id(variable) in seen or not keras.backend.is_float_dtype(variable.dtype):
                continue
            seen.add(id(variable))
            path = _new_path(owners, variable, paths)
            refs.append(WeightRef(path, positions[id(variable)], variable, owners))
        for sub in sublayers(current):
            visit(sub, owners)

    visit(layer, ())
    return refs


def weight_paths(model):
    """`{id(variable): path}` of the floating-point weights of a model."""
    return {id(ref.variable): ref.path for ref in weight_refs(model)}


def _new_path(owners, variable, taken):
    names = [name for layer in named(owners)[1:] for name in names_of(layer)]
    path = first = "/".join([*names, variable.name])
    number = 1
    while path in taken:
        number += 1
        path = f"{first}_{number}"
    taken.add(path)
    return path


def names_of(layer):
    """The names of a layer that was inside others: those of the others, and its own.

    >>> layer = keras.layers.Dense(2)
    >>> layer.name = "encoder>ffn"
    >>> names_of(layer)
    ['encoder', 'ffn']
    """
    return layer.name.split(INSIDE)


def path_of(name):
    """The path that a name of a layer stands for, as rules and reports show it."""
    return name.replace(INSIDE, "/")


def named(owners):
    """The layers on the way to a weight, without those that only wrap another one.

    Wrappers of compressed layers and models that train another one declare themselves.
    """
    return [o for o in owners if not (is_compressed(o) or hasattr(o, "wraps_model"))]


def is_compressed(layer):
    """Whether a layer wraps a layer whose weights are transformed."""
    return getattr(layer, "is_compressed", False)


def tied_layers(graph):
    """`{name: layer}` of layers that share variables with another layer of a graph.

    This happens when a layer is given another one, or a part of it.

    Args:
        graph: a Sequential or Functional model; nested models are included.

    >>> dense = keras.layers.Dense(4, name="a")
    >>> again = keras.layers.TimeDistributed(dense, name="b")
    >>> x = keras.Input((3, 4))
    >>> list(tied_layers(keras.Model(x, [dense(x), again(x)])))
    ['a', 'b']
    """
    kinds = (keras.Function, keras.Sequential)
    graphs = [layer for layer in all_layers(graph) if isinstance(layer, kinds)]
    held = [layer for each in graphs for layer in each.layers]
    layers = {id(a): a for a in held if not isinstance(a, kinds)}
    counts = collections.Counter(id(v) for a in layers.values() for v in a.variables)
    return {
        layer.name: layer
        for layer in layers.values()
        if any(counts[id(variable)] > 1 for variable in layer.variables)
    }


def leaves(model):
    """`(path, layer)` of the layers that own weights.

    A recurrent layer counts as one layer, since its cell runs once per time step. For
    compressed layers, the inner layer is listed.
    """
    found, seen = [], set()

    def visit(layer, path):
        if id(layer) in seen:
            return
        seen.add(id(layer))
        if is_compressed(layer):
            visit(layer.inner, path)
            return
        if isinstance(layer, keras.layers.RNN) or own_variables(layer):
            found.append((path, layer))
        if isinstance(layer, keras.layers.RNN):
            return
        for sub in sublayers(layer):
            name = path_of(sub.name)
            visit(sub, f"{path}/{name}" if path else name)

    visit(model, "")
    return found


def leaf_of(ref):
    """The leaf that a weight belongs to: its owner, or the recurrent layer around it."""
    recurrent = [a for a in ref.owners if isinstance(a, keras.layers.RNN)]
    return recurrent[0] if recurrent else ref.owner


def leaf_refs(layer):
    """The weights that belong to a leaf: its own, and its cell's if it is recurrent."""
    refs = weight_refs(layer)
    if isinstance(layer, keras.layers.RNN):
        return refs
    return [ref for ref in refs if ref.owner is layer]
