"""Statistics of the feature maps that a weight makes."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.nouns import Signal
from tfcompress.core.walk import leaf_of


class PerOutput(Signal):
    """A statistic with one number per output of the layer.

    Outputs are those after the layer's own activation. The gates of a recurrent unit
    share its number, since the layer shows the unit's output only.
    """

    observes = frozenset({"calls"})

    def update(self, seen):
        """What the calls of a batch add up to."""
        sums = [self.update_call(call, maps(call, seen.ref)) for call in calls_of(seen)]
        return tuple(tf.add_n(list(parts)) for parts in zip(*sums, strict=True))

    def update_call(self, call, values):
        """What one call adds.

        Args:
            call: the `Call`.
            values: its outputs, `(samples, positions, channels)`.
        """
        raise NotImplementedError

    def result(self, totals, ref):
        """The numbers as they broadcast to the canonical form of the weight."""
        numbers = self.per_channel(*totals)
        if not ref.layout.output_axes:
            return numbers.reshape(-1, 1)
        return np.tile(numbers, ref.layout.num_outputs // numbers.size)

    def per_channel(self, *totals):
        """The statistic, `(channels,)`."""
        raise NotImplementedError


def calls_of(seen):
    """The calls of a weight's layer.

    Raises:
        ValueError: if there are none.
    """
    if not seen.calls:
        raise ValueError(
            f"The layer of weight {seen.ref.path!r} does not run when the model does, so "
            "that there are no activations of it. Leave the weight out by a rule, or "
            "use a criterion of weights alone, such as 'magnitude'."
        )
    return seen.calls


def maps(call, ref, tensor=None):
    """Outputs of a call, or a tensor like them, as `(samples, positions, channels)`.

    Raises:
        ValueError: if the outputs of the layer are not those that the weight makes.
    """
    outputs = call.outputs if tensor is None else tensor
    layer = leaf_of(ref)
    if getattr(layer, "data_format", None) == "channels_first":
        outputs = tf.transpose(outputs, [0, *range(2, len(outputs.shape)), 1])
    made = ref.layout.num_outputs if ref.layout.output_axes else ref.variable.shape[0]
    channels = outputs.shape[-1]
    if isinstance(layer, keras.layers.EinsumDense):
        channels = made
    elif isinstance(layer, keras.layers.RNN):
        made = channels if made % channels == 0 else made
    if channels != made:
        raise ValueError(
            f"Weight {ref.path!r} makes {made} channels, and its layer shows "
            f"{channels}: what it makes is not seen from outside. Split the layer "
            "(tfc.rewrites.SplitSeparable), or leave the weight out by a rule."
        )
    return tf.reshape(outputs, (tf.shape(outputs)[0], -1, channels))
