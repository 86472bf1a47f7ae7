"""Convolutions that learn to read a single position of their window."""

import tensorflow as tf

from tfcompress.core.kinds import Flag
from tfcompress.transforms.annealing import Annealed

# The slope at which softmax is treated as a choice.
_STEEPEST = 100.0


class ShiftAttention(Annealed):
    """Weights the positions of convolution windows until one of them is left (SAL).

    For a kernel of `k x k` positions, trained `v`, which start at 0, and the progress
    `p` of `tfc.callbacks.Annealing`:

        y = w k² softmax(T v),    T = 100^p

    with the softmax over the positions, and at `p = 1` exactly `k² w` at the position
    of the largest `v`, else 0: a shift of the channel before a 1x1 convolution. The
    constant `k²` preserves the scale, so that nothing changes at first. (The paper has
    no such factor and divides `v` by its standard deviation.) A trained network starts
    from its existing kernels.

    With one position per input channel, whatever the filter, the layer can be rewritten
    as a depthwise convolution with one-hot kernels and a 1x1 convolution, which needs
    about `k²` times fewer MACs: `tfc.rewrites.apply(tfc.strip(model), "split_shift")`.
    Weights that are not kernels of 2D convolutions are left unchanged.

    Args:
        per_filter: whether each filter has its own positions, as in the paper. That
            saves weights, but does not make TFLite files faster.

    Attributes:
        attention: variable `v`, `(height, width, inputs, 1)`, or with one entry per filter.

    Source: Hacene et al., "Attention Based Pruning for Shift Networks" (2019), section 3.

    Example:
        >>> layer = keras.layers.Conv2D(1, (1, 3), use_bias=False)
        >>> layer.build((None, 4, 4, 1))
        >>> _ = layer.kernel.assign([[[[1.0]], [[2.0]], [[3.0]]]])
        >>> model = keras.Sequential([keras.Input((4, 4, 1)), layer])
        >>> model = tfc.compress(model, {".*": ShiftAttention()})
        >>> shift = model.layers[0].treatments[0].transforms[0]
        >>> _ = shift.attention.assign([[[[0.1]], [[0.3]], [[0.2]]]])
        >>> annealing = tfc.callbacks.Annealing(end_step=9)
        >>> annealing.set_model(model); annealing.update(step=9)
        >>> tfc.strip(model).layers[0].kernel.numpy().ravel()
        array([0., 6., 0.], dtype=float32)
    """

    def __init__(self, per_filter: Flag() = False):
        self.per_filter = per_filter

    def build(self, layer, weight, layout):
        """Creates the progress and the attention."""
        super().build(layer, weight, layout)
        self.attention = None
        if len(layout.shape) != 4:
            return
        self.attention = layer.add_weight(
            name=f"{weight.name}_attention",
            shape=layout.shape if self.per_filter else (*layout.shape[:3], 1),
            dtype=weight.dtype,
            initializer="zeros",
            trainable=True,
        )

    def __call__(self, weight, training=False):
        """`y`."""
        if self.attention is None:
            return tf.convert_to_tensor(weight)
        height, width, *channels = self.attention.shape
        places = height * width
        logits = tf.reshape(self.attention.value, (places, *channels))
        steepness = _STEEPEST ** tf.convert_to_tensor(self.progress.value)
        soft = tf.nn.softmax(steepness * logits, axis=0)
        hard = tf.one_hot(tf.argmax(logits), places, axis=0, dtype=soft.dtype)
        attention = tf.where(self.progress.value >= 1, hard, soft)
        return weight * tf.reshape(places * attention, self.attention.shape)
