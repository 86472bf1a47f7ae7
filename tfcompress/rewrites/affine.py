"""Per-channel `a x + b` as one operation."""

import keras
import numpy as np

from tfcompress.core.keras_internals import symbolic_calls
from tfcompress.core.kinds import Flag
from tfcompress.core.nouns import LayerRewrite


class AffineAsConvolution(LayerRewrite):
    """Writes fixed scaling of images as a 1x1 depthwise convolution.

    `y_c = a_c x_c + b_c` with kernel `a` and bias `b`, for Normalization and Rescaling,
    and for BatchNormalization at inference. In TFLite, these layers are a multiplication
    and an addition; int8 needs a range between the two, but not for a convolution. The new
    layer is not trainable.

    Args:
        batch_norm: whether to replace BatchNormalization too; only for inference.

    >>> x = keras.Input((4, 4, 3))
    >>> model = keras.Model(x, keras.layers.Rescaling(1 / 255)(x))
    >>> type(tfc.rewrites.apply(model, AffineAsConvolution()).layers[1]).__name__
    'DepthwiseConv2D'
    """

    def __init__(self, batch_norm: Flag() = False):
        self.batch_norm = batch_norm

    def matches(self, layer):
        """Whether it is fixed scaling of float images with channels last."""
        if isinstance(layer, keras.layers.Normalization):
            known = layer.axis in ((-1,), (3,)) and not layer.invert
        elif isinstance(layer, keras.layers.BatchNormalization):
            known = self.batch_norm and layer.axis in (-1, 3)
        else:
            known = isinstance(layer, keras.layers.Rescaling)
        if not known or len(symbolic_calls(layer)) != 1:
            return False
        shape = layer.output.shape
        is_float = keras.backend.is_float_dtype(layer.input.dtype)
        return len(shape) == 4 and shape[-1] is not None and is_float

    def __call__(self, layer):
        """One `DepthwiseConv2D`."""
        ones = np.ones(layer.output.shape[-1])
        scale, offset = _scale_and_offset(layer)
        convolution = keras.layers.DepthwiseConv2D(
            1, name=layer.name, trainable=False, data_format="channels_last"
        )
        convolution.build(layer.output.shape)
        convolution.kernel.assign(np.reshape(scale * ones, convolution.kernel.shape))
        convolution.bias.assign(offset * ones)
        return [convolution]


def _scale_and_offset(layer):
    if isinstance(layer, keras.layers.Rescaling):
        return layer.scale, layer.offset
    if isinstance(layer, keras.layers.BatchNormalization):
        return batch_norm_scale_and_offset(layer)
    mean, variance = np.ravel(layer.mean), np.ravel(layer.variance)
    scale = 1.0 / np.maximum(np.sqrt(variance), keras.config.epsilon())
    return scale, -mean * scale


def batch_norm_scale_and_offset(norm):
    """`g = γ / sqrt(σ² + ε)` and `β - μ g` of a BatchNormalization, as arrays."""
    mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    gamma = norm.gamma.numpy() if norm.scale else np.ones_like(mean)
    beta = norm.beta.numpy() if norm.center else np.zeros_like(mean)
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return scale, beta - mean * scale
