"""The one mechanism for weights: call a layer with variables standing for other values."""

import dataclasses

import keras
import tensorflow as tf

from tfcompress.core.behaviour import kept_states


@dataclasses.dataclass(frozen=True)
class Substituted:
    """What such a call did.

    Attributes:
        outputs: of the layer.
        updates: `[(variable, new value)]` of what the call assigned, such as the
            statistics of batch normalization, the kernel that spectral normalization
            divides by its norm, or what stateful layers keep. The variables themselves
            keep their values.
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
    variables = [*layer.variables, *kept_states(layer)]
    mapping = [(v, values.get(id(v), v.value)) for v in variables]
    with _Scope(mapping, collect_losses=True) as scope:
        # What the scope keeps may be a cast of what it was given.
        given = {id(v): scope.get_current_value(v) for v in variables}
        outputs = call()
    # No := in what graphs are traced of: AutoGraph cannot read it, and warns users.
    left = [(v, scope.get_current_value(v)) for v in variables]
    updates = [(v, value) for v, value in left if value is not given[id(v)]]
    return Substituted(outputs, updates, scope.losses)


class _Scope(keras.StatelessScope):
    """In it gradients of an assigned value are those of the variable, as outside of it."""

    def add_update(self, update):
        variable, value = update
        before = self.get_current_value(variable)
        if variable.trainable and before is not None:
            value = _in_place_of(value, tf.convert_to_tensor(before))
        super().add_update((variable, value))


@tf.custom_gradient
def _in_place_of(value, before):
    return tf.identity(value), lambda upstream: (None, upstream)
