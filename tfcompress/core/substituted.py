"""The one mechanism for weights: call a layer with other values for its variables."""

import dataclasses

import keras
import tensorflow as tf

from tfcompress.core.behaviour import kept_states


@dataclasses.dataclass(frozen=True)
class Substituted:
    """The result of a call with substituted variables.

    Attributes:
        outputs: the outputs of the layer.
        updates: `[(variable, new value)]` that the call assigned, such as the
            statistics of batch normalization, the kernel that spectral normalization
            divides by its norm, or the state of stateful layers. The variables
            themselves keep their values.
        losses: the losses that inner layers added.
    """

    outputs: object
    updates: list
    losses: list


def call_substituted(layer, values, *args, **kwargs):
    """Calls a layer with other values in place of its variables.

    Gradients flow through the values. Nothing is assigned: the caller decides what to
    do with changed state and with losses.

    Args:
        layer: a built layer or model.
        values: `{id(variable): tensor}`, of the variable's shape; all other variables
            keep their values.
        *args: positional arguments of the call.
        **kwargs: keyword arguments of the call.

    Returns:
        A `Substituted`.

    Raises:
        ValueError: from Keras, if the shape of a value differs from its variable's.

    Example:
        >>> layer = keras.layers.Dense(1, use_bias=False)
        >>> layer.build((None, 2))
        >>> values = {id(layer.kernel): tf.constant([[2.0], [3.0]])}
        >>> call_substituted(layer, values, np.ones((1, 2))).outputs.numpy()
        array([[5.]], dtype=float32)
    """
    return substituted(layer, values, lambda: layer(*args, **kwargs))


def substituted(layer, values, call):
    """`call_substituted` for any `call` without arguments that runs parts of the layer."""
    variables = [*layer.variables, *kept_states(layer)]
    mapping = [(v, values.get(id(v), v.value)) for v in variables]
    with _Scope(mapping, collect_losses=True) as scope:
        # The scope may hold a cast of the value that it was given.
        given = {id(v): scope.get_current_value(v) for v in variables}
        outputs = call()
    # No := in what graphs are traced of: AutoGraph cannot read it, and warns users.
    left = [(v, scope.get_current_value(v)) for v in variables]
    updates = [(v, value) for v, value in left if value is not given[id(v)]]
    return Substituted(outputs, updates, scope.losses)


class _Scope(keras.StatelessScope):
    """A scope in which an assigned value has the gradients of the variable, as outside."""

    def add_update(self, update):
        variable, value = update
        before = self.get_current_value(variable)
        if variable.trainable and before is not None:
            value = _in_place_of(value, tf.convert_to_tensor(before))
        super().add_update((variable, value))


@tf.custom_gradient
def _in_place_of(value, before):
    return tf.identity(value), lambda upstream: (None, upstream)
