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


def composed_layers(student, teacher, parts, last_only):
    """Layers that have certain layers inside, such as attention: two lists of paths.

    All of the student, with evenly spaced ones of the teacher: layer `m` of `M` with layer
    `m N / M`, rounded down, of `N`.

    Args:
        student: a model.
        teacher: a model.
        parts: names of layers inside.
        last_only: whether only the last one of each model is returned.

    Raises:
        ValueError: if a model has none, or the teacher fewer than the student.

    >>> def network(depth):
    ...     y = x = keras.Input((4, 6))
    ...     for i in range(depth):
    ...         y = keras.layers.MultiHeadAttention(2, 3, name=f"attention{i + 1}")(y, y)
    ...     return keras.Model(x, y)
    >>> parts = ("query", "key")
    >>> composed_layers(network(2), network(4), parts, last_only=False)
    (['attention1', 'attention2'], ['attention2', 'attention4'])
    """
    found = [_composed(model, parts) for model in (student, teacher)]
    if last_only:
        return tuple(paths[-1:] for paths in found)
    sizes = [len(paths) for paths in found]
    if sizes[0] > sizes[1]:
        raise ValueError(
            f"The student has {sizes[0]} layers with {', '.join(parts)} inside, and the "
            f"teacher {sizes[1]}: name pairs in student_layers and teacher_layers."
        )
    places = [(m + 1) * sizes[1] // sizes[0] - 1 for m in range(sizes[0])]
    return found[0], [found[1][place] for place in places]


def _composed(model, parts):
    known = named_layers(model)
    found = [path for path in known if all(f"{path}/{part}" in known for part in parts)]
    if not found:
        raise ValueError(
            f"Model {model.name!r} has no layer with {', '.join(parts)} inside, such as "
            "MultiHeadAttention: name layers, or use another loss."
        )
    return found


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
