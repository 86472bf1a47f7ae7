"""Folds batch normalisation into the layer before it."""

import keras
import numpy as np

from tfcompress.core.layout import layout
from tfcompress.core.nouns import LayerRewrite
from tfcompress.rewrites.affine import batch_norm_scale_and_offset


class FoldBatchNorm(LayerRewrite):
    """Folds a BatchNormalization into the convolution or dense layer before it.

    With `g = γ / sqrt(σ² + ε)`: `kernel' = kernel g`, `bias' = (bias - μ) g + β`, one
    `g` per output channel. Inference does not change; training no longer normalises.
    Not needed for export, since the converter folds exactly.

    Source: Jacob et al. (2018), section 3.2.

    >>> x = keras.Input((8,))
    >>> y = keras.layers.BatchNormalization()(keras.layers.Dense(4)(x))
    >>> len(tfc.rewrites.apply(keras.Model(x, y), FoldBatchNorm()).layers)
    2
    """

    length = 2

    def matches(self, layer, norm):
        """Whether a linear convolution or dense layer precedes batch norm over channels."""
        foldable = (
            keras.layers.Conv1D,
            keras.layers.Conv2D,
            keras.layers.Conv3D,
            keras.layers.DepthwiseConv1D,
            keras.layers.DepthwiseConv2D,
            keras.layers.Conv2DTranspose,
            keras.layers.Dense,
        )
        if not isinstance(norm, keras.layers.BatchNormalization):
            return False
        if not isinstance(layer, foldable):
            return False
        rank = len(layer.output.shape)
        return layer.activation is keras.activations.linear and norm.axis in (
            -1,
            rank - 1,
        )

    def __call__(self, layer, norm):
        """The layer with a bias, and without the batch norm."""
        folded = type(layer).from_config({**layer.get_config(), "use_bias": True})
        folded.build(layer.input.shape)
        gain, offset = batch_norm_scale_and_offset(norm)
        bias = layer.bias.numpy() if layer.use_bias else np.zeros_like(gain)
        axes = layout(layer, layer.kernel)
        kernel = axes.to_canonical(layer.kernel.numpy()) * gain
        folded.kernel.assign(axes.from_canonical(kernel))
        folded.bias.assign(bias * gain + offset)
        return [folded]
