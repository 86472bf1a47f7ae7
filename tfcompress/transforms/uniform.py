"""Evenly spaced levels."""

import math

import tensorflow as tf

from tfcompress.core.kinds import Flag, Integer
from tfcompress.transforms.k_bit import KBit
from tfcompress.transforms.scales import mean_magnitude, scale_axes
from tfcompress.transforms.straight_through import straight_through


class Uniform(KBit):
    """Rounds weights to evenly spaced levels; the gradient passes straight through.

    Symmetric (narrow range, `Q = 2^(bits-1) - 1` levels on each side of zero):

        s = max|w| / Q,    y = s round(w / s)

    Symmetric with one bit, which has no room for a zero next to two levels (but weights
    that are exactly zero, such as pruned ones, stay zero and do not count in the mean):

        s = mean|w|,    y = s sign(w)

    Affine (`2^bits` levels, one of them zero):

        s = (max(w, 0) - min(w, 0)) / (2^bits - 1),    z = round(-min(w, 0) / s)
        y = s (clip(round(w / s) + z, 0, 2^bits - 1) - z)

    Gradient: `dL/dw = dL/dy` (straight-through estimator); the scale is recomputed
    from the weights and has no gradient. Rounding is to the nearest, ties to even.

    Args:
        bits: 1 to 16; `tfc.callbacks.BitAnnealing` changes it during training, from 2 up.
        symmetric: whether levels are symmetric around zero, as TFLite's weights are.
        per_channel: whether each output channel has its own scale. After a transform
            that shares values between channels, such as `Codebook`, there is a single
            scale.
        block_size: None, or the number of consecutive inputs of an output channel that
            share a scale: `(block_size, 1)` blocks of a dense kernel
            `(inputs, outputs)`; in a convolution, the inputs of its positions are laid
            out one after another. The last block may be smaller. Of TFLite files, only
            `"dynamic_int4"` ones hold such scales: for dense layers and embeddings, up to
            4 bits, and blocks of 32, 64, 128 or 256.

    Raises:
        ValueError: if `bits` is not an integer in [1, 16], if `block_size` is not a
            positive integer, or if there are blocks but not `per_channel`.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference" (2018), section 3; one bit: Rastegari et al.,
    "XNOR-Net" (2016), section 3.1; straight-through estimator: Bengio et al. (2013).

    Example:
        >>> layer = keras.layers.Dense(2, use_bias=False); layer.build((None, 2))
        >>> _ = layer.kernel.assign([[-1.0, 0.3], [0.6, 1.0]])
        >>> model = keras.Sequential([keras.Input((2,)), layer])
        >>> rounded = tfc.strip(tfc.compress(model, {".*": Uniform(bits=2)}))
        >>> rounded.layers[0].kernel.numpy()
        array([[-1.,  0.],
               [ 1.,  1.]], dtype=float32)
    """

    def __init__(
        self,
        bits: Integer(1, 16) = 8,
        symmetric: Flag() = True,
        per_channel: Flag() = True,
        block_size: Integer(1) = None,
    ):
        super().__init__(bits)
        if block_size and not per_channel:
            raise ValueError(
                f"Uniform(block_size={block_size}, per_channel=False): a block lies "
                "within one output channel. Keep per_channel=True."
            )
        self.symmetric = symmetric
        self.per_channel = per_channel
        self.block_size = block_size

    @property
    def max_level(self):
        """`Q`, or the largest affine level's distance from zero; blocks have many steps."""
        if self.block_size:
            return math.inf
        if not self.symmetric:
            return 2**self.bits - 1
        return max(2 ** (self.bits - 1) - 1, 1)

    @property
    def shares_values(self):
        """One scale gives all channels the same levels."""
        return not self.per_channel

    def build(self, layer, weight, layout):
        """Creates the number of levels; stores the axes over which a scale is shared."""
        super().build(layer, weight, layout)
        self.layout = layout
        # Without channels, there is a single scale and no blocks.
        self.has_blocks = bool(self.block_size and layout.output_axes)
        self.axes = (1,) if self.has_blocks else scale_axes(layout, self.per_channel)

    def __call__(self, weight, training=False):
        """The rounded weight."""
        return straight_through(self._round, weight)

    def _round(self, weight):
        if self.has_blocks:
            return _from_blocks(
                self._quantize(_to_blocks(weight, self.layout, self.block_size)),
                self.layout,
            )
        return self._quantize(weight)

    def _quantize(self, weight):
        if not self.symmetric:
            return self._quantize_affine(weight)
        if self.bits == 1:
            return mean_magnitude(weight, self.axes) * tf.sign(weight)
        return self._quantize_symmetric(weight)

    def _quantize_symmetric(self, weight):
        levels = tf.convert_to_tensor(self._levels.value)
        scale = tf.reduce_max(tf.abs(weight), self.axes, keepdims=True) / levels
        scale = tf.where(scale > 0, scale, tf.ones_like(scale))
        return scale * tf.round(weight / scale)

    def _quantize_affine(self, weight):
        levels = 2 * tf.convert_to_tensor(self._levels.value) + 1
        low = tf.minimum(tf.reduce_min(weight, self.axes, keepdims=True), 0)
        high = tf.maximum(tf.reduce_max(weight, self.axes, keepdims=True), 0)
        scale = (high - low) / levels
        scale = tf.where(scale > 0, scale, tf.ones_like(scale))
        zero = tf.round(-low / scale)
        return scale * (
            tf.clip_by_value(tf.round(weight / scale) + zero, 0, levels) - zero
        )


def _to_blocks(weight, layout, block_size):
    """`(blocks of a channel, block_size, channels)`, the last block filled with zeros."""
    order = layout.reduction_axes + layout.output_axes
    matrix = tf.reshape(tf.transpose(weight, order), (-1, layout.num_outputs))
    missing = -matrix.shape[0] % block_size
    matrix = tf.pad(matrix, [(0, missing), (0, 0)])
    return tf.reshape(matrix, (-1, block_size, layout.num_outputs))


def _from_blocks(blocks, layout):
    """The inverse of `_to_blocks`."""
    order = layout.reduction_axes + layout.output_axes
    num_inputs = math.prod(layout.shape) // layout.num_outputs
    matrix = tf.reshape(blocks, (-1, layout.num_outputs))[:num_inputs]
    moved = tf.reshape(matrix, [layout.shape[a] for a in order])
    return tf.transpose(moved, [order.index(a) for a in range(len(order))])
