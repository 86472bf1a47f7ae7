"""New outputs of a functional model in which some calls are replaced."""

import keras


def rewired_outputs(model, graph, stand_ins):
    """Replaces some calls, and repeats all calls that follow them.

    Args:
        model: a fresh flat functional model, whose layers are called a second time.
        graph: its `Graph`.
        stand_ins: `{node.key: function}`; the function takes a lookup from the model's
            tensors to the new ones, and returns the outputs of the call.

    Returns:
        Symbolic tensors in the structure of `model.output`.
    """
    new = {}

    def current(tensor):
        return new.get(id(tensor), tensor)

    for node in graph.nodes:
        if node.key in stand_ins:
            outputs = stand_ins[node.key](current)
        elif any(id(tensor) in new for tensor in node.inputs):
            outputs = called_on(node, current)
        else:
            continue
        outputs = keras.tree.flatten(outputs)
        new |= {id(t): y for t, y in zip(node.outputs, outputs, strict=True)}
    return keras.tree.map_structure(current, model.output)


def called_on(node, current):
    """The outputs of a call, repeated on the new tensors."""
    values = {id(tensor): current(tensor) for tensor in node.inputs}
    args, kwargs = node.arguments.fill_in(values)
    return node.operation(*args, **kwargs)
