"""Puts the weights of a cut model back into layers and models of the original classes."""

import keras

from tfcompress.core.agreement import check_agreement
from tfcompress.core.cloning import (
    clone_layer,
    is_graph,
    is_saved_as_graph,
    rebuild,
    remake,
)
from tfcompress.core.compress import as_plain
from tfcompress.core.graph import expanded, symbolic_inputs, warn_of_training
from tfcompress.core.keras_internals import all_layers
from tfcompress.core.kinds import BuiltModel, checked
from tfcompress.core.walk import weight_refs


@checked
def restore_class(small: BuiltModel(), model: BuiltModel()) -> keras.Model:
    """Returns a model of the class of `model` with the weights of `small`.

    `tfc.prune_channels` and `tfc.shrink` return functional models in which layers that
    contain others are opened. This function makes the original classes again, in the
    sizes of `small`: a backbone of KerasHub is one again, for any sequence length, and
    the blocks of a functional model are single layers. Models inside a functional model
    stay expanded.

    A class is made from `get_config()`, in which whole numbers are scaled like the sizes
    of weights that were cut, as long as that makes more weights fit. So only what the
    arguments of a class can express has a place in it. Widths of feed-forward layers
    usually have; heads often have not, where their width is the embedding width divided
    by their number.

    Args:
        small: what became of `model`, or of a functional model that only calls it.
        model: the model before it was cut. It is not changed.

    Returns:
        A model that computes the same as `small`, not compiled.

    Raises:
        TypeError: if one of them is not a Keras 3 model.
        ValueError: if `small` has other weights than `model`, for example after
            `tfc.factorize`, or no configuration gives their sizes; names the first one.

    Example:
        >>> class Tower(keras.Model):
        ...     def __init__(self, width, **kwargs):
        ...         super().__init__(**kwargs)
        ...         self.wide = keras.layers.Dense(width, "relu", name="wide")
        ...         self.head = keras.layers.Dense(2, name="head")
        ...     def call(self, x):
        ...         return self.head(self.wide(x))
        ...     def get_config(self):
        ...         return {"name": self.name, "width": self.wide.units}
        >>> model = Tower(8)
        >>> _ = model(np.zeros((1, 4)))
        >>> small = tfc.prune_channels(model, {"wide": 0.5})
        >>> restored = tfc.restore_class(small, model)
        >>> type(small).__name__, type(restored).__name__, restored.wide.units
        ('Functional', 'Tower', 4)
    """
    plain, small = as_plain(model), as_plain(small)
    is_sequence = isinstance(plain, keras.Sequential)
    is_sequence = is_sequence and not any(map(is_graph, plain.layers))
    whole = expanded(plain) if is_saved_as_graph(plain) else plain
    sizes = _Sizes(whole, small)
    if whole is plain:
        restored = sizes.fitted(plain, lambda made: _build(made, plain))
    else:
        layers = _Layers(sizes, small)
        restored = rebuild(whole, layers.replace, layers.call)
    sizes.assign(whole, restored)
    if is_sequence:
        restored = keras.Sequential(restored.layers, name=model.name)
    check_agreement(small, restored)
    warn_of_training(model, restored, "restore the class of")
    return restored


def _build(made, model):
    if not made.built:
        made(symbolic_inputs(model))


class _Sizes:
    """The weights that layers of a model are to have.

    Args:
        model: the plain model.
        small: what became of it.
    """

    def __init__(self, model, small):
        prefix = f"{model.name}/"
        found = {
            ref.path.removeprefix(prefix): ref.variable for ref in weight_refs(small)
        }
        self._wanted, left = {}, set(found)
        for ref in weight_refs(model):
            if ref.path not in left or _rank(found[ref.path]) != _rank(ref.variable):
                raise _difference(ref.path, "model", "small")
            self._wanted[id(ref.variable)] = ref.path, found[ref.path]
            left.remove(ref.path)
        if left:
            raise _difference(min(left), "small", "model")

    def _shapes(self, layer):
        """`(path, shape)` of the wanted weights of a layer of the model."""
        wanted = [self._wanted[id(ref.variable)] for ref in weight_refs(layer)]
        return [(path, tuple(weight.shape)) for path, weight in wanted]

    def are_those_of(self, layer):
        """Whether nothing of a layer was cut."""
        return not _misfits(layer, self._shapes(layer))

    def fitted(self, layer, build):
        """A layer of the same class whose weights have the sizes of those of `small`.

        Args:
            layer: a layer of the model, or the model.
            build: function that builds a layer made from a configuration.
        """
        wanted, config = self._shapes(layer), layer.get_config()
        changes = {
            (old, new)
            for ref, (_, shape) in zip(weight_refs(layer), wanted, strict=True)
            for old, new in zip(ref.variable.shape, shape, strict=True)
            if old != new
        }
        best, misfits = self._made(layer, config, build)
        # Twice, since some numbers are only possible after others.
        for place, number in 2 * list(_numbers(config)):
            for other in sorted(_scaled(number, changes)):
                if not misfits:
                    return best
                tried = _changed(config, place, other)
                made, left = self._made(layer, tried, build)
                if len(left) < len(misfits):
                    best, misfits, config = made, left, tried
        if not misfits:
            return best
        path, shape = misfits[0]
        raise ValueError(
            f"No configuration of {type(layer).__name__} {layer.name!r} gives weight "
            f"{path!r} the shape {shape}. Cut only channels whose number is an argument "
            "of the class, or keep the functional model."
        )

    def _made(self, layer, config, build):
        """A layer from a configuration, and weights that do not fit; None if it fails."""
        wanted = self._shapes(layer)
        try:
            made = remake(layer, config)
            build(made)
        except Exception:
            # Sizes that a class refuses; users' code may raise anything.
            return None, wanted
        return made, _misfits(made, wanted)

    def assign(self, model, restored):
        """Gives a restored model the values of `small`, and all else of the model."""
        for old, new in zip(all_layers(model), all_layers(restored), strict=True):
            new.trainable = old.trainable
        for old, new in zip(model.variables, restored.variables, strict=True):
            if not keras.backend.is_float_dtype(old.dtype):
                new.assign(old.value)
        for old, new in zip(weight_refs(model), weight_refs(restored), strict=True):
            _, weight = self._wanted[id(old.variable)]
            new.variable.assign(weight.value)


def _rank(variable):
    return len(variable.shape)


def _difference(path, of, other):
    return ValueError(
        f"restore_class: weight {path!r} of {of} is not one of {other}. Expected what "
        "tfc.prune_channels or tfc.shrink made of model; what was factorized or expanded "
        "has no place in the original class."
    )


def _misfits(layer, wanted):
    """Those of the wanted `(path, shape)` that the weights of a layer do not have."""
    refs = weight_refs(layer)
    if len(refs) != len(wanted):
        return wanted
    return [
        (path, shape)
        for ref, (path, shape) in zip(refs, wanted, strict=True)
        if tuple(ref.variable.shape) != shape
    ]


def _numbers(config, place=()):
    """`(place, number)` of the whole numbers in a configuration."""
    if isinstance(config, bool) or config is None:
        return
    if isinstance(config, int):
        yield place, config
    elif isinstance(config, (dict, list, tuple)):
        keys = config if isinstance(config, dict) else range(len(config))
        for key in keys:
            yield from _numbers(config[key], (*place, key))


def _changed(config, place, number):
    """A configuration with another number at a place."""
    if not place:
        return number
    key, *rest = place
    inside = _changed(config[key], rest, number)
    if isinstance(config, dict):
        return {**config, key: inside}
    return type(config)([*config[:key], inside, *config[key + 1 :]])


def _scaled(number, changes):
    """What a number may become if it, a part or a multiple of it was cut."""
    return {
        number * new // old
        for old, new in changes
        if number * new % old == 0 and number and number * new != number * old
    }


class _Layers:
    """Replaces the layers of a graph by those of other sizes.

    Args:
        sizes: the `_Sizes`.
        small: the model that has these.
    """

    def __init__(self, sizes, small):
        self._sizes = sizes
        operations = getattr(small, "operations", small.layers)
        self._small = {operation.name: operation for operation in operations}
        self._originals, self._fitted = {}, {}

    def replace(self, layer):
        cut = self._small.get(layer.name)
        if type(cut) is type(layer):
            return clone_layer(cut)
        if not isinstance(layer, keras.Layer) or self._sizes.are_those_of(layer):
            return clone_layer(layer)
        fresh = remake(layer, layer.get_config())
        self._originals[id(fresh)] = layer
        return fresh

    def call(self, layer, /, *args, **kwargs):
        original = self._originals.get(id(layer))
        if original is None:
            return layer(*args, **kwargs)
        if id(original) not in self._fitted:
            self._fitted[id(original)] = self._sizes.fitted(
                original, lambda made: made(*args, **kwargs)
            )
        return self._fitted[id(original)](*args, **kwargs)
