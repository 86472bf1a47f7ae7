"""Outputs of inner layers, recorded while a model runs."""

import contextlib

import keras

from tfcompress.core.plugin import did_you_mean
from tfcompress.core.recording import recorded
from tfcompress.core.samples import random_inputs
from tfcompress.core.walk import sublayers


def named_layers(model):
    """`{path: layer}` of all layers in a model; paths look like `block1/conv`.

    A compressed layer stands for the layer inside it.

    >>> inner = keras.Sequential([keras.layers.ReLU(name="relu")], name="block")
    >>> list(named_layers(keras.Sequential([inner])))
    ['block', 'block/relu']
    """
    found = {}

    def visit(layer, path):
        inner = layer.inner if getattr(layer, "is_compressed", False) else layer
        for sub in sublayers(inner):
            name = f"{path}/{sub.name}" if path else sub.name
            if id(sub) not in {id(known) for known in found.values()}:
                found[name] = sub
                visit(sub, name)

    visit(model, "")
    return found


def find_layers(model, names):
    """The layers with these names or paths.

    Raises:
        ValueError: if a name is unknown or ambiguous.
    """
    known = named_layers(model)
    return [_find(model, known, name) for name in names]


def _find(model, known, name):
    if name in known:
        return known[name]
    fitting = [path for path in known if path.endswith(f"/{name}")]
    if len(fitting) == 1:
        return known[fitting[0]]
    if fitting:
        raise ValueError(
            f"Model {model.name!r} has several layers {name!r}: choose one of {fitting}."
        )
    raise ValueError(
        f"Model {model.name!r} has no layer {name!r}; it has {', '.join(known)}."
        f"{did_you_mean(name, known)}"
    )


@contextlib.contextmanager
def watched(layers):
    """A context that records the last output of each layer: `{id of the layer: output}`.

    For layers with several outputs, such as recurrent ones that return their state, it is
    the first output.
    """
    outputs = {}

    def record(layer, inputs, output, args, kwargs):
        outputs[id(layer)] = keras.tree.flatten(output)[0]

    with recorded({id(layer): layer for layer in layers}.values(), record):
        yield outputs


def matching_layers(student, teacher):
    """Pairs of layers whose outputs can be compared: two lists of paths.

    The last layer of each resolution that both models have, except the head; if they have
    none in common, as in dense networks, the layer before the head.

    >>> def network(width):
    ...     return keras.Sequential([
    ...         keras.Input((8, 8, 3)),
    ...         keras.layers.Conv2D(width, 3, padding="same", name="conv"),
    ...         keras.layers.ReLU(name="relu"),
    ...         keras.layers.MaxPooling2D(name="pool"),
    ...         keras.layers.Flatten(name="flatten"),
    ...         keras.layers.Dense(2, name="head"),
    ...     ])
    >>> matching_layers(network(4), network(8))
    (['relu', 'pool'], ['relu', 'pool'])
    """
    bodies = [_body(model) for model in (student, teacher)]
    by_resolution = [
        {shape[1:-1]: path for path, shape in body if len(shape) > 2} for body in bodies
    ]
    common = [size for size in by_resolution[0] if size in by_resolution[1]]
    if common:
        return tuple([paths[size] for size in common] for paths in by_resolution)
    return tuple([body[-1][0]] for body in bodies)


def last_layers(student, teacher):
    """The last hidden layer of each model: two lists of one path.

    >>> model = keras.Sequential([
    ...     keras.Input((8,)),
    ...     keras.layers.Dense(4, name="hidden"),
    ...     keras.layers.ReLU(name="relu"),
    ...     keras.layers.Dense(2, name="head"),
    ... ])
    >>> last_layers(model, model)
    (['relu'], ['relu'])
    """
    return tuple([_body(model)[-1][0]] for model in (student, teacher))


def _body(model):
    """`(path, output shape)` of the layers in execution order, without the head."""
    paths = {id(layer): path for path, layer in _steps(model).items()}
    called = []

    def record(layer, inputs, outputs, args, kwargs):
        shape = tuple(keras.tree.flatten(outputs)[0].shape)
        called.append((paths[id(layer)], shape, bool(layer.weights)))

    with recorded(list(_steps(model).values()), record):
        model(random_inputs(model, batch_size=2), training=False)
    weighted = [i for i, (_, _, has_weights) in enumerate(called) if has_weights]
    body = [(path, shape) for path, shape, _ in called[: max(weighted, default=0)]]
    if not body:
        raise ValueError(
            f"Model {model.name!r} has no layer before its last one to compare: name "
            "layers, or use a loss on outputs such as 'kl'."
        )
    return body


def _steps(model):
    """The layers that models consist of, not those inside other layers."""
    known = named_layers(model)
    models = {path for path, layer in known.items() if _is_model(layer)} | {""}
    return {
        path: layer
        for path, layer in known.items()
        if path.rpartition("/")[0] in models
        and not _is_model(layer)
        # Padding does not create a resolution of its own.
        and not isinstance(layer, (keras.layers.InputLayer, keras.layers.ZeroPadding2D))
    }


def _is_model(layer):
    return isinstance(getattr(layer, "inner", layer), keras.Model)
