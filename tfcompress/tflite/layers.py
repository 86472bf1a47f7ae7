"""Which operations of a converted file belong to which layers, by their names."""

from tfcompress.core.plugin import did_you_mean
from tfcompress.core.rules import matches_part


class UnknownLayers(ValueError):
    """No operation of a file belongs to a layer."""


def tensors_of_layers(file, expressions, sources):
    """Names of the tensors that operations of some layers write.

    A tensor is called after all operations that became one, and so are constants. An
    output of the file has another name.

    Args:
        file: the object form of a file as the converter makes it.
        expressions: regular expressions for names of layers, or paths.
        sources: `{name of an output: name of the operation that computes it}`.

    Raises:
        UnknownLayers: if no operation of the file is one of a layer that an expression
            matches.
    """
    found, unused, known = [], set(expressions), set()
    for written, paths in _operations(file, sources):
        known |= paths
        matching = {
            one
            for one in expressions
            if any(matches_part(one, path.split("/")) for path in paths)
        }
        unused -= matching
        found += written if matching else []
    if unused:
        raise _unknown(min(unused), sorted(known))
    return found


def _unknown(expression, layers):
    return UnknownLayers(
        f"float_layers: no operation of the file is one of a layer {expression!r}: "
        f"expected some of {', '.join(layers[:20])}{', …' if layers[20:] else ''}."
        f"{did_you_mean(expression, layers)} For a layer that becomes part of another, "
        "such as a batch norm, name that one."
    )


def _operations(file, sources):
    """Names of the outputs of each operation, and paths of the layers that it is of."""
    outputs = {
        (definition.subgraphIndex, int(output.tensorIndex)): output.name.decode()
        for definition in file.signatureDefs or ()
        for output in definition.outputs
    }
    for index, graph in enumerate(file.subgraphs):
        names = [(tensor.name or b"").decode() for tensor in graph.tensors]
        computed = {int(i) for operator in graph.operators for i in operator.outputs}
        computed |= {int(i) for i in graph.inputs}
        for operator in graph.operators:
            written = [int(place) for place in operator.outputs]
            own = [sources.get(outputs.get((index, i)), names[i]) for i in written]
            paths = _paths(own)
            if not paths:
                read = {int(place) for place in operator.inputs if place >= 0}
                paths = _paths(names[place] for place in read - computed)
            yield [names[place] for place in written], paths


def _paths(names):
    """Paths of the layers in names.

    >>> sorted(_paths(["model/relu/Relu;model/block/conv/convolution", "constant"]))
    ['block/conv', 'relu']
    """
    whole = [path.split("/")[1:-1] for name in names for path in name.split(";")]
    return {"/".join(path) for path in whole if path}
