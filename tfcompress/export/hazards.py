"""Finds operations that the converter cannot take before it ends Python."""

import re

from tfcompress.core.keras_internals import all_layers
from tfcompress.export.measured_converter import MissingOperations

_FLOW = {"While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"}
_PYTHON = {"PyFunc", "EagerPyFunc", "PyFuncStateless"}
_RANDOM = "(Stateless)?(Random|TruncatedNormal|ParameterizedTruncated)"
# LiteRT has these for floats.
_RANDOM_IN_LITERT = {"RandomStandardNormal", "RandomUniform", "Multinomial"}

# What to do without an operation, by a part of its name.
_CURES = {
    "String|Regex|Unicode|Substr|Lookup|Table": "Look up text and keys before the model, "
    "and feed it numbers",
    "FFT|Complex|Real|Imag|Angle": "Apply the transform before the model, or write it as "
    "products with constant matrices",
    "Pool3D": "Pool over two axes, with a Reshape around MaxPooling2D, then over the third",
    "Conv3D": "Write the convolution as a sum of Conv2D over the slices",
    "Bitwise|Shift": "Write it with comparisons and arithmetic",
    "": "Write it with operations that LiteRT has",
}


def check_operations(function, model, precision):
    """Raises for a layer that no file, or no file of this precision, can hold.

    Args:
        function: the traced `tf.ConcreteFunction`.
        model: the model it was traced from, for names.
        precision: a `Precision`.

    Raises:
        ValueError: if there is one; names the layer, and what to do.
    """
    for operation, kinds in _operations(function):
        where = place(operation, model)
        if kinds & _PYTHON:
            raise ValueError(
                f"{where} runs Python code, which a TFLite file cannot hold. Write it with "
                "keras.ops, or move it before or after the model."
            )
        if any(map(_is_random, kinds)) and (
            precision.is_integer or not kinds & _RANDOM_IN_LITERT
        ):
            raise ValueError(
                f"{where} draws random numbers ({operation.type}), which LiteRT cannot in "
                f"{precision.name} files. Export a model without it, such as "
                "keras.Model(model.inputs, outputs of the layers before it), or pass the "
                "numbers in as an input."
            )


def check_missing(error, function, model):
    """Raises for layers with operations that LiteRT lacks, if an error says so.

    Args:
        error: error of the converter, in this process or in a separate one.
        function: the traced `tf.ConcreteFunction`.
        model: the model it was traced from, for names.

    Raises:
        ValueError: if so; names the first such layer, the operation, and what to do.
    """
    _, found, names = str(error).rpartition(f"{MissingOperations.__name__}: ")
    if not found and not isinstance(error, MissingOperations):
        return
    missing = set(names.split())
    for operation, kinds in _operations(function):
        for name in sorted(kinds & missing):
            raise ValueError(
                f"{place(operation, model)} needs the operation {name}, which LiteRT "
                f"does not have. {_cure(name)}, or export the part of the model before "
                "or after it, with keras.Model(model.inputs, outputs of a layer)."
            ) from error
    raise ValueError(
        f"Model {model.name!r} needs the operations {', '.join(sorted(missing))}, which "
        "LiteRT does not have. Use other operations."
    ) from error


def _cure(name):
    return next(cure for part, cure in _CURES.items() if re.search(part, name))


def control_flow(function, model):
    """The layers with loops or branches, as text; empty if there are none."""
    return [
        place(operation, model)
        for operation, _ in _operations(function)
        if operation.type in _FLOW
    ]


def place(operation, model):
    """The innermost layer that an operation of the graph comes from, as text."""
    names = {layer.name: layer for layer in all_layers(model)}
    for name in reversed(operation.name.split("/")):
        if name in names:
            return f"Layer {name!r} ({type(names[name]).__name__})"
    return f"Model {model.name!r}"


def _operations(function):
    """`(operation, its type and those of all it calls)`, for what outputs depend on.

    Keras leaves operations for training in the graph, such as masks of dropout.
    """
    library = {
        body.signature.name: body
        for body in function.graph.as_graph_def().library.function
    }

    def types(kind, attributes):
        found = {kind}
        for value in attributes.values():
            for called in [value.func, *value.list.func]:
                for node in _needed_nodes(library.get(called.name)):
                    found |= types(node.op, node.attr)
        return found

    needed, waiting = {}, [tensor.op for tensor in function.outputs]
    while waiting:
        operation = waiting.pop()
        if operation.name not in needed:
            needed[operation.name] = operation
            waiting += [tensor.op for tensor in operation.inputs]
    for operation in needed.values():
        yield operation, types(operation.type, operation.node_def.attr)


def _needed_nodes(body):
    """The nodes of a library function that its results depend on."""
    if body is None:
        return []
    nodes = {node.name: node for node in body.node_def}
    needed, waiting = {}, list(body.ret.values())
    while waiting:
        name = waiting.pop().lstrip("^").partition(":")[0]
        if name in nodes and name not in needed:
            needed[name] = nodes[name]
            waiting += nodes[name].input
    return list(needed.values())


def _is_random(kind):
    return kind in _RANDOM_IN_LITERT or re.match(
        "(Stateless)?(Random|Truncated|Param)", kind
    )
