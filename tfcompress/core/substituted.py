"""The one mechanism for weights: call a layer with variables standing for other values."""

import dataclasses

import keras

from tfcompress.core.behaviour import kept_states


@dataclasses.dataclass(frozen=True)
class Substituted:
    """What such a call did.

    Attributes:
        outputs: of the layer.
        updates: `[(variable, new value)]` of the state that the call changed, such as
            the statistics of batch normalization and what stateful layers keep. The
            variables themselves keep their values.
        losses: those that layers inside added.
    """

    outputs: object
    updates: list
    losses: list


def call_substituted(layer, values, *args, **kwargs):
    """Calls a layer in which variables stand for other values.

    Gradients flow through the values. Nothing is assigned: who calls decides what
    becomes of changed state and of losses.

    Args:
        layer: a built layer or model.
        values: `{id(variable): tensor}`, of the variable's shape; the other variables
            stand for themselves.
        *args: of the call.
        **kwargs: of the call.

    Returns:
        A `Substituted`.

    Raises:
        ValueError: by Keras, if a value has another shape than its variable.

    Example:
        >>> layer = keras.layers.Dense(1, use_bias=False)
        >>> layer.build((None, 2))
        >>> values = {id(layer.kernel): tf.constant([[2.0], [3.0]])}
        >>> call_substituted(layer, values, np.ones((1, 2))).outputs.numpy()
        array([[5.]], dtype=float32)
    """
    return substituted(layer, values, lambda: layer(*args, **kwargs))


def substituted(layer, values, call):
    """`call_substituted` for any `call` without arguments that calls within the layer."""
    states = kept_states(layer)
    variables = [*layer.variables, *states]
    mapping = [(v, values.get(id(v), v.value)) for v in variables]
    with keras.StatelessScope(mapping, collect_losses=True) as scope:
        # What the scope keeps may be a cast of what it was given.
        given = {id(v): scope.get_current_value(v) for v in variables}
        outputs = call()
    updates = [
        (variable, value)
        for variable in [*layer.non_trainable_variables, *states]
        if (value := scope.get_current_value(variable)) is not given[id(variable)]
    ]
    return Substituted(outputs, updates, scope.losses)
