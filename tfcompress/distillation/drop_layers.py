"""A student made of some of its teacher's layers."""

import keras

from tfcompress.core.compress import strip
from tfcompress.core.graph import Graph, editable, rewire
from tfcompress.core.kinds import BuiltModel, Each, Integer, Text, checked
from tfcompress.core.plugin import did_you_mean


@checked
def drop_layers(
    model: BuiltModel(),
    states: Each(Text(), "names of the layers that return the hidden states"),
    keep: Each(Integer(1), "numbers of the blocks that stay, from 1") = None,
) -> keras.Model:
    """Returns a copy of `model` without some of its blocks, with the weights of the others.

    Block `i` computes hidden state `i` from hidden state `i - 1`; without it, whatever
    read its state reads the one before. It is how a student is initialised that is then
    trained by a `Distiller` with the whole model as its teacher.

    Args:
        model: a Sequential or Functional model, or a subclassed one whose `call` uses
            only Keras; compressed models are stripped. Nested models are flattened.
        states: names of the layers whose outputs are the hidden states, in order: first
            what the first block reads, such as the embeddings, then the last layer of each
            block, such as the addition at its end. All have the same shape.
        keep: numbers of the blocks that stay, from 1; by default every second one,
            beginning with the first.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if a layer is unknown, states have different shapes, or a block to keep
            does not exist.

    Source: DistilBERT: Sanh et al., "DistilBERT, a distilled version of BERT: smaller,
    faster, cheaper and lighter" (2019), section 2.

    Example:
        >>> blocks = [keras.layers.Dense(4, name=f"block{i}") for i in (1, 2, 3)]
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="stem"),
        ...     *blocks, keras.layers.Dense(2, name="head")])
        >>> student = drop_layers(model, ["stem", "block1", "block2", "block3"])
        >>> [layer.name for layer in student.layers[1:]]
        ['stem', 'block1', 'block3', 'head']
    """
    states = list(states)
    flat = editable(strip(model), "drop layers of")
    _check_states(flat, states)
    blocks = range(1, len(states))
    keep = list(blocks[::2] if keep is None else keep)
    if missing := [block for block in keep if block not in blocks]:
        raise ValueError(
            f"keep={keep}: there is no block {missing[0]}; {len(states)} states are the "
            f"ends of blocks 1 to {len(states) - 1}."
        )
    places, found = {name: place for place, name in enumerate(states)}, {}

    def call(key, operation, /, *args, **kwargs):
        outputs = operation(*args, **kwargs)
        place = places.get(key[0])
        if place is None or key[1]:
            return outputs
        found[place] = outputs if place in (0, *keep) else found[place - 1]
        return found[place]

    # Layers that lead to no output any more are not in the copy.
    return rewire(flat, call)


def _check_states(flat, states):
    nodes = {n.operation.name: n for n in Graph(flat).nodes if n.index == 0}
    for name in states:
        if name not in nodes:
            raise ValueError(
                f"Model {flat.name!r} has no layer {name!r}; it has {', '.join(nodes)}."
                f"{did_you_mean(name, nodes)}"
            )
    shapes = {name: tuple(nodes[name].outputs[0].shape) for name in states}
    if len(states) < 2 or len(set(shapes.values())) > 1:
        raise ValueError(
            f"states={states}: expected at least two layers with outputs of the same "
            f"shape, got {shapes}."
        )
