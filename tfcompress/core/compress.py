"""`compress` adds transforms to the weights of a model, `strip` removes them."""

import keras

from tfcompress.core.agreement import check_agreement
from tfcompress.core.cloning import clone_layer, is_graph, rebuild
from tfcompress.core.compressed import (
    Compressed,
    CompressedLayer,
    CompressedModel,
    compressed_model,
    treatments,
    untransformed,
)
from tfcompress.core.errors import check_finite
from tfcompress.core.graph import flatten, rewire, warn_of_training
from tfcompress.core.keras_internals import all_layers
from tfcompress.core.kinds import BuiltModel, Converted, checked
from tfcompress.core.nouns import WeightTransform
from tfcompress.core.rules import PATTERNS, Rule, Rules, check_used, last_match
from tfcompress.core.walk import tied_layers, weight_refs
from tfcompress.core.warn import warn


@checked
def compress(
    model: BuiltModel(),
    rules: Rules(
        Converted(lambda value: _as_list(value), "transforms"),
        "transforms",
        "{'.*': 'mask'}",
    ),
    skip: PATTERNS = (),
) -> CompressedModel:
    """Returns a copy of `model` whose weights pass through transforms.

    When a layer is called, every covered weight `w` is replaced by `t_n(... t_1(w))`;
    training updates `w` and the transforms' own state. The model may be Sequential,
    Functional (nested and shared layers too) or subclassed; it is not changed. Layers
    without a rule stay as they are.

    Args:
        model: a built `keras.Model`.
        rules: `{pattern: transform or list of transforms}`; later rules win. A pattern
            is a regular expression that must match a whole layer name, a layer class,
            or a predicate `layer -> bool`. It covers the kernels of the matching
            layers; biases and normalization weights only if the expression names them,
            as in `"conv.*/bias"`. Transforms are objects or names.
        skip: patterns of weights to leave unchanged, whatever the rules say.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if the model is not built, has NaN or infinite weights, or if a
            rule or a `skip` pattern matches nothing.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="d")])
        >>> small = tfc.compress(model, {"d": [tfc.transforms.Uniform(bits=4)]})
        >>> tfc.report(small)["d/kernel"].unique_values <= 15 * 4
        True
    """
    rules = [Rule(pattern, value) for pattern, value in rules.items()]
    skip = [Rule(pattern) for pattern in skip]
    refs = weight_refs(model)
    for ref in refs:
        check_finite(f"Weight {ref.path}", ref.variable.numpy())
    plan = {}
    for ref in refs:
        rule = last_match(rules, ref)
        if rule and not last_match(skip, ref):
            plan[id(ref.variable)] = rule.value
    check_used([*rules, *skip], refs)
    compressed = _compressed(model, plan)
    with untransformed(compressed):
        check_agreement(model, compressed)
    for _, treatment in treatments(compressed):
        treatment.start()
    warn_of_training(model, compressed, "compress")
    return compressed


@checked
def strip(model: BuiltModel()) -> keras.Model:
    """Returns a plain Keras model that computes the same as the compressed `model`.

    The transforms are evaluated once and their results stored in ordinary weights;
    activation ranges (`tfc.layers.FakeQuant`) become Keras' own fake-quantization
    operation. No tfcompress class is left, except one that holds the own weights of
    layers that were opened, and predictions differ by at most 1e-6.

    Args:
        model: a model made by `tfc.compress` or `tfc.quantize_activations`; a plain
            model is just copied.

    Raises:
        TypeError: if `model` is not a Keras 3 model.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> small = tfc.compress(model, {".*": tfc.transforms.Codebook(4)})
        >>> len(np.unique(tfc.strip(small).layers[0].kernel))
        4
    """
    _warn_of_waiting(model)
    _warn_of_unfinished(model)
    plain = stripped(model)
    check_agreement(model, plain)
    return plain


def stripped(model):
    """`strip`, without any warnings or checks."""
    if not is_graph(model):
        return _strip_layer(model)
    if any(_is_plain_call(layer) for layer in all_layers(model)):
        return rewire(flatten(model), _call_plain, _strip_layer)
    return rebuild(model, _strip_layer)


def _warn_of_waiting(model):
    waiting = [path for path, treatment in treatments(model) if treatment.is_waiting]
    if waiting:
        warn(
            f"Transforms of {len(waiting)} weights, such as {waiting[0]!r}, have not "
            "started and are missing in the stripped model: they wait for masks to "
            "settle. Finish the training with the callback that holds them (Pruning or "
            "Staging).",
        )


def _warn_of_unfinished(model):
    unfinished = {
        path: transform
        for path, treatment in treatments(model)
        for transform in treatment.transforms
        if not transform.is_finished
    }
    if unfinished:
        path, transform = next(iter(unfinished.items()))
        warn(
            f"Transforms of {len(unfinished)} weights, such as {transform!r} of "
            f"{path!r}, are stripped in an unfinished state. "
            "Train to the end with the callback that completes them: "
            "model.fit(..., callbacks=[tfc.callbacks.Annealing()]).",
        )


def is_plain(model):
    """Whether a model has nothing to strip."""
    layers = all_layers(model)
    return not any(
        isinstance(a, Compressed) or _is_plain_call(a) or _has_plain_form(a)
        for a in layers
    )


def as_plain(model):
    """The model itself if it has nothing to strip, or else a plain copy."""
    return model if is_plain(model) else strip(model)


def _compressed(model, plan):
    if is_graph(model) and not tied_layers(model):
        return rebuild(model, lambda layer: _compress_layer(layer, plan))
    return compressed_model(clone_layer(model), _assign(model, plan))


def _as_list(value):
    values = value if isinstance(value, (list, tuple)) else [value]
    return [WeightTransform.get(v) for v in values]


def _assign(layer, plan):
    """New transforms for the weights of a layer, by position."""
    return {
        ref.index: [transform.clone() for transform in plan[id(ref.variable)]]
        for ref in weight_refs(layer)
        if id(ref.variable) in plan
    }


def _compress_layer(layer, plan):
    if not isinstance(layer, keras.Layer):
        return clone_layer(layer)
    transforms = _assign(layer, plan)
    copy = clone_layer(layer)
    if not transforms:
        return copy
    wrapper = CompressedLayer(copy, transforms)
    wrapper.build()
    return wrapper


def _strip_layer(layer):
    if _is_plain_call(layer):
        return layer
    if isinstance(layer, Compressed):
        plain = clone_layer(layer.inner)
        layer.bake_into(plain)
    else:
        plain = clone_layer(layer)
    return plain.as_plain() if _has_plain_form(plain) else plain


def _is_plain_call(layer):
    """Whether the layer replaces a plain operation and can call it."""
    return hasattr(layer, "call_plain")


def _has_plain_form(layer):
    """Whether the layer can return a Keras layer that computes the same."""
    return hasattr(layer, "as_plain")


def _call_plain(key, layer, /, *args, **kwargs):
    call = layer.call_plain if _is_plain_call(layer) else layer
    return call(*args, **kwargs)
