"""Copies of models in which some layers are replaced."""

import contextlib
import contextvars
import functools
import tempfile

import keras

from tfcompress.core.duplicate import Copies, duplicate
from tfcompress.core.keras_internals import (
    all_layers,
    compile_arguments,
    lasting_attributes,
    producer,
    reserve_names,
)
from tfcompress.core.symbolic_sizes import exact_specs
from tfcompress.core.warn import warn

_copies = contextvars.ContextVar("copies that belong together", default=None)


def remake(layer, config):
    """A layer of the same class from a configuration, without weights."""
    is_lambda = isinstance(layer, keras.layers.Lambda)
    # A Lambda's code comes from this process, not from a file, so it is safe.
    trust = {"safe_mode": False} if is_lambda else {}
    try:
        made = type(layer).from_config(config, **trust)
        if is_lambda:
            # The code in a configuration lacks its global names.
            made.function = layer.function
        return made
    except Exception as error:
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) cannot be copied from its "
            f"configuration: {error}. Implement get_config() so that it returns all "
            "constructor arguments."
        ) from error


def clone_layer(layer):
    """A built copy of a layer or model with the same weights and state.

    It is made from the configuration if that restores all of it, and attribute by
    attribute otherwise, as for layers that have no `get_config` or create their
    contents on their first call. Layers that refer to one another, such as tied ones,
    still do so when they are copied within one `rebuild`.

    Raises:
        ValueError: if neither way of copying works.
    """
    if is_graph(layer):
        return rebuild(layer)
    with _together() as copies:
        if copies.has_inside(layer):
            return copies[id(layer)]
        copy = None
        # Configurations of operations contain neither names nor attributes set later.
        if isinstance(layer, keras.Layer) and not copies.has_part_of(layer):
            copy = _from_config(layer)
        if copy is None:
            copy = _duplicated(layer, copies)
        copies.note(layer, copy)
    return copy


def _from_config(layer):
    """None if the configuration does not bring back all of the layer."""
    try:
        copy = _fresh(layer)
        if layer.built and not copy.built and _has_build(type(copy)):
            copy.build_from_config(layer.get_build_config() or {})
        copy_state(layer, copy)
    except Exception:
        # Users' code may raise anything, and the other way to copy works as well.
        return None
    copy.built = layer.built
    return copy


def _fresh(layer):
    if hasattr(layer, "recreated"):
        return layer.recreated()
    return remake(layer, layer.get_config())


def _has_build(kind):
    """Whether a class overrides `build` or `build_from_config`; the default may warn."""
    names = ("build", "build_from_config")
    return any(getattr(kind, n) is not getattr(keras.Layer, n) for n in names)


def _duplicated(layer, copies):
    parts = all_layers(layer) if isinstance(layer, keras.Layer) else ()
    for part in parts[1:]:
        if is_graph(part) and id(part) not in copies:
            copies.note(part, rebuild(part))
    try:
        return duplicate(layer, copies)
    except Exception as error:
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) cannot be copied, neither "
            f"from its configuration nor attribute by attribute: {error}. Implement "
            "get_config() so that it returns all constructor arguments, and create all "
            "variables in build()."
        ) from error


@contextlib.contextmanager
def _together():
    """The copies made so far within the outermost `with` block of this function."""
    outer = _copies.get()
    if outer is not None:
        yield outer
        return
    token = _copies.set(Copies())
    try:
        yield _copies.get()
    finally:
        _copies.reset(token)


def copy_state(source, target):
    """Copies names, all variables, random seeds included, and other saved state.

    That includes the statistics of an adapted `Normalization`, the vocabulary of a
    lookup, and whatever else layers save to files with their own methods.

    Raises:
        ValueError: if the target does not consist of the same layers and variables.
    """
    if len(source.variables) != len(target.variables):
        raise ValueError(
            f"The copy of {source.name!r} has {len(target.variables)} variables, the "
            f"original {len(source.variables)}: its get_config() or build() does not "
            "restore it. Create all variables in build()."
        )
    for old, new in zip(all_layers(source), all_layers(target), strict=True):
        _check_kind(old, new)
        _carry(old, new)
    # Last, because some layers save other values than they compute with.
    for old, new in zip(source.variables, target.variables, strict=True):
        new.assign(old.value)


def _check_kind(source, target):
    """The precision of inner layers follows settings that may have changed since."""
    kinds = [(type(a), a.dtype_policy.name) for a in (source, target)]
    if kinds[0] != kinds[1]:
        raise ValueError(f"The copy of {source.name!r} is {kinds[1]}, not {kinds[0]}.")


def _carry(source, target):
    """Copies what a layer saves to files, its name, and whether it is trainable."""
    target.name = source.name
    if target.trainable != source.trainable:
        target.trainable = source.trainable
    kind = type(source)
    if kind.load_own_variables is not keras.Layer.load_own_variables and source.built:
        # The method of the class: files leave out a weight that `Hashed` retired.
        store = {}
        kind.save_own_variables(source, store)
        kind.load_own_variables(target, store)
    if hasattr(source, "load_assets"):
        with tempfile.TemporaryDirectory() as folder:
            source.save_assets(folder)
            target.load_assets(folder)


def is_graph(model):
    """Whether the layers of a model can be replaced (Sequential or Functional)."""
    return isinstance(model, (keras.Sequential, keras.Function))


def is_saved_as_graph(model):
    """Whether the configuration of a model is its graph, not arguments of its class."""
    own = type(model).get_config
    return own in (keras.Sequential.get_config, _functional().get_config)


@functools.cache
def _functional():
    """The class of functional models, which Keras does not export."""
    x = keras.Input((1,), name="x")
    return type(keras.Model(x, x, name="graph"))


_TRAINING = (
    "compile",
    "fit",
    "evaluate",
    "predict",
    "train_on_batch",
    "test_on_batch",
    "predict_on_batch",
    "train_step",
    "test_step",
    "predict_step",
    "make_train_function",
    "make_test_function",
    "make_predict_function",
    "compute_loss",
    "compute_metrics",
    "reset_metrics",
    "metrics",
)


def own_training(kind):
    """Names of the methods for training and evaluation that a model class overrides.

    >>> class Own(keras.Model):
    ...     def train_step(self, data):
    ...         return super().train_step(data)
    >>> own_training(Own), own_training(keras.Sequential)
    (['train_step'], [])
    """
    return [n for n in _TRAINING if getattr(kind, n) is not getattr(keras.Model, n)]


def rebuild(model, replace=clone_layer, call=None):
    """A copy of a Sequential or Functional model, nested models included.

    A model whose class overrides training keeps that class and its attributes; it is
    then saved to files as a graph, since its constructor would make the original.

    Args:
        model: the model, which is not changed.
        replace: `layer -> layer`, called once for each layer; the result replaces the
            layer and must have its weights set.
        call: `(new layer, *args, **kwargs) -> outputs`, calls the new layer; functional
            models only.
    """
    replaced = {}
    reserve_names(getattr(model, "operations", ()))

    def noted(layer):
        replaced[id(layer)] = replace(layer)
        return replaced[id(layer)]

    with compile_scope(model), _together() as copies, exact_specs():
        copy = keras.models.clone_model(
            model,
            input_tensors=_inputs_like(model),
            clone_function=noted,
            call_function=call,
            recursive=True,
        )
        if own_training(type(model)):
            _keep_class(model, copy, Copies({**copies, **replaced}))
    if isinstance(model, keras.Sequential) and not copy.built:
        copy.build(model.input_shape)
    return copy


def _keep_class(model, copy, copies):
    """Gives a copy the class of a model, and its attributes besides the graph."""

    def counterpart(layer):
        return copies[id(layer)] if id(layer) in copies else clone_layer(layer)

    copies.update(_nested_copies(model, copy))
    own = lasting_attributes(model)
    own = {name: value for name, value in own.items() if name not in vars(copy)}
    for part in keras.tree.flatten(list(own.values())):
        if is_graph(part) and id(part) not in copies:
            copies[id(part)] = rebuild(part, counterpart)
    try:
        own = duplicate(own, copies)
    except TypeError as error:
        warn(
            f"The copy of {model.name!r} uses Keras' training step, not that of "
            f"{type(model).__name__}, which cannot be copied: {error}.",
        )
        return
    copy.__class__ = _saved_as_graph(type(model), type(copy))
    for name, value in own.items():
        setattr(copy, name, value)


@functools.cache
def _saved_as_graph(kind, graph_kind):
    """A subclass whose models are saved as graphs, if the class itself is not."""
    if issubclass(kind, graph_kind) and kind.get_config is graph_kind.get_config:
        return kind
    attributes = {
        name: getattr(graph_kind, name) for name in ("__init__", "get_config")
    }
    attributes["__module__"] = graph_kind.__module__
    return type(graph_kind.__name__, (kind,), attributes)


def _nested_copies(model, copy):
    """`{id(nested model): its copy}`, matched by name."""
    copied = {layer.name: layer for layer in copy.layers}
    found = {}
    for layer in model.layers:
        if is_graph(layer) and layer.name in copied:
            found[id(layer)] = copied[layer.name]
            found |= _nested_copies(layer, copied[layer.name])
    return found


def _inputs_like(model):
    """Inputs with the same names, which Keras forgets if it chose them itself."""
    if isinstance(model, keras.Sequential):
        return None
    return keras.tree.map_structure(
        lambda tensor: keras.Input(
            batch_shape=tensor.shape,
            dtype=producer(tensor).dtype,
            name=producer(tensor).name,
        ),
        model.input,
    )


def compile_scope(model):
    """Within it, Keras finds all that the model was compiled with, custom losses included.

    A copy of a compiled model is compiled from a configuration, which only contains the
    names of functions and classes.
    """
    if not model.compiled:
        return keras.saving.custom_object_scope({})
    parts = keras.tree.flatten(compile_arguments(model))
    kinds = (keras.optimizers.Optimizer, keras.Loss, keras.Metric)
    found = {
        type(part).__name__: type(part) for part in parts if isinstance(part, kinds)
    }
    found |= {part.__name__: part for part in parts if hasattr(part, "__name__")}
    return keras.saving.custom_object_scope(found)
