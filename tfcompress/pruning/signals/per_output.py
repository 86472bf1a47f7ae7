"""Statistics of the feature maps that a weight produces."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.nouns import Signal
from tfcompress.core.walk import leaf_of


class PerOutput(Signal):
    """A statistic with one number per output of the layer.

    Outputs are those after the layer's own activation. The gates of a recurrent unit
    share its number, since only the unit's output is visible.
    """

    observes = frozenset({"calls"})

    def update(self, seen):
        """The sums over the calls of a batch."""
        sums = [self.update_call(call, maps(call, seen.ref)) for call in calls_of(seen)]
        return tuple(tf.add_n(list(parts)) for parts in zip(*sums, strict=True))

    def update_call(self, call, values):
        """The contribution of one call.

        Args:
            call: the `Call`.
            values: its outputs, `(samples, positions, channels)`.
        """
        raise NotImplementedError

    def result(self, totals, ref):
        """The numbers, in a shape that broadcasts to the canonical form of the weight."""
        numbers = self.per_channel(*totals)
        numbers = np.tile(numbers, _num_channels(ref) // numbers.size)
        return numbers if ref.layout.output_axes else numbers.reshape(-1, 1)

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
            f"The layer of weight {seen.ref.path!r} does not run when the model runs, so "
            "it has no activations. Exclude the weight with a rule, or "
            "use a criterion that needs only weights, such as 'magnitude'."
        )
    return seen.calls


def maps(call, ref, tensor=None):
    """Outputs of a call, or a tensor like them, as `(samples, positions, channels)`.

    Raises:
        ValueError: if the outputs of the layer are not those that the weight produces.
    """
    outputs = call.outputs if tensor is None else tensor
    layer = leaf_of(ref)
    if getattr(layer, "data_format", None) == "channels_first":
        outputs = tf.transpose(outputs, [0, *range(2, len(outputs.shape)), 1])
    channels = outputs.shape[-1]
    if isinstance(layer, keras.layers.EinsumDense):
        channels = _num_channels(ref)
    is_inner = ref.variable is getattr(layer, "depthwise_kernel", None)
    gates, rest = divmod(_num_channels(ref), channels)
    if is_inner or rest or (gates > 1 and not isinstance(layer, keras.layers.RNN)):
        raise ValueError(
            f"The outputs of weight {ref.path!r} cannot be seen outside its layer, which "
            f"shows {channels} channels. Split the layer (tfc.rewrites.SplitSeparable), "
            "or exclude the weight with a rule."
        )
    # Sums in half precision overflow.
    outputs = tf.cast(outputs, tf.float32)
    return tf.reshape(outputs, (tf.shape(outputs)[0], -1, channels))


def _num_channels(ref):
    """The number of outputs of a weight, or of elements of a bias."""
    if ref.layout.output_axes:
        return ref.layout.num_outputs
    return ref.variable.shape[0]
