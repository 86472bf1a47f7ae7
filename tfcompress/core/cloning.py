"""Copies of models in which some layers are replaced."""

import tempfile

import keras

from tfcompress.core.keras_internals import all_layers, compile_arguments, producer


def remake(layer, config):
    """A layer of the same class from a configuration, without weights."""
    # A Lambda's code comes from this process, not from a file, so it is safe.
    trust = {"safe_mode": False} if isinstance(layer, keras.layers.Lambda) else {}
    try:
        return type(layer).from_config(config, **trust)
    except Exception as error:
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) cannot be copied from its "
            f"configuration: {error}. Implement get_config() so that it returns all "
            "constructor arguments."
        ) from error


def clone_layer(layer):
    """A built copy of a layer with the same weights and state."""
    copy = remake(layer, layer.get_config())
    if not isinstance(layer, keras.Layer):
        # Some operations of Keras have no name in their configuration.
        copy.name = layer.name
        return copy
    if layer.built and not copy.built:
        copy.build_from_config(layer.get_build_config() or {})
    copy_state(layer, copy)
    copy.built = layer.built
    return copy


def copy_state(source, target):
    """Copies all variables, random seeds included, and what layers keep beside them.

    That is the statistics of an adapted `Normalization`, the vocabulary of a lookup, and
    whatever else layers put into files by methods of their own.
    """
    if len(source.variables) != len(target.variables):
        raise ValueError(
            f"The copy of {source.name!r} has {len(target.variables)} variables, the "
            f"original {len(source.variables)}: its get_config() or build() does not "
            "restore it. Create all variables in build()."
        )
    for old, new in zip(all_layers(source), all_layers(target), strict=True):
        _carry(old, new)
    # Last, since some layers write other values to files than they compute with.
    for old, new in zip(source.variables, target.variables, strict=True):
        new.assign(old.value)


def _carry(source, target):
    """What a layer would take along in a file."""
    kind = type(source)
    if kind.load_own_variables is not keras.Layer.load_own_variables and source.built:
        # Of the class, since files leave out a weight that `Hashed` retired.
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


def rebuild(model, replace=clone_layer, call=None):
    """A copy of a Sequential or Functional model, nested models included.

    Args:
        model: the model, which is not changed.
        replace: `layer -> layer`, called once for each layer; what it returns takes
            the layer's place and must have its weights set.
        call: `(new layer, *args, **kwargs) -> outputs`, how the new layer is called;
            functional models only.
    """
    with compile_scope(model):
        copy = keras.models.clone_model(
            model,
            input_tensors=_inputs_like(model),
            clone_function=replace,
            call_function=call,
            recursive=True,
        )
    if isinstance(model, keras.Sequential) and not copy.built:
        copy.build(model.input_shape)
    return copy


def _inputs_like(model):
    """Inputs of the same names, which Keras forgets where they were given by itself."""
    if isinstance(model, keras.Sequential):
        return None
    return keras.tree.map_structure(
        lambda tensor: keras.Input(
            batch_shape=tensor.shape,
            dtype=tensor.dtype,
            name=producer(tensor).name,
        ),
        model.input,
    )


def compile_scope(model):
    """In it Keras finds what the model was compiled with, a user's own loss included.

    A copy of a compiled model is compiled from a configuration, which names functions
    and classes only.
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
