"""Kernels as matrices, and what their layers are fed as the rows that these multiply.

A kernel is `(groups, inputs, outputs)`: one group for dense and convolution layers, one a
channel for depthwise convolution. A convolution's inputs are the weights of its window, and
its rows the patches that the window sees.
"""

import math

import keras
import tensorflow as tf

L = keras.layers


def has_matrix(layer):
    """Whether a layer multiplies its inputs with a kernel as above."""
    if isinstance(layer, (L.Conv1D, L.Conv2D)):
        return layer.data_format == "channels_last" and layer.padding in (
            "same",
            "valid",
        )
    if isinstance(layer, L.DepthwiseConv2D):
        return layer.data_format == "channels_last"
    return isinstance(layer, L.Dense) and not layer.quantization_mode


def to_matrix(layer, kernel):
    """The kernel (NumPy array) as `(groups, inputs, outputs)`."""
    groups, outputs = _groups(layer)
    return kernel.reshape(-1, groups, outputs).transpose(1, 0, 2)


def from_matrix(layer, matrix):
    """The inverse of `to_matrix`."""
    return matrix.transpose(1, 0, 2).reshape(layer.kernel.shape)


def _groups(layer):
    """`(groups, outputs of a group)`."""
    if isinstance(layer, L.DepthwiseConv2D):
        return tuple(layer.kernel.shape[-2:])
    groups = getattr(layer, "groups", 1)
    return groups, layer.kernel.shape[-1] // groups


def rows(layer, inputs):
    """What the kernel multiplies, a tensor `(groups, rows, inputs)`."""
    if isinstance(layer, L.Dense):
        return tf.reshape(inputs, (1, -1, inputs.shape[-1]))
    sizes, strides, rates = layer.kernel_size, layer.strides, layer.dilation_rate
    if isinstance(layer, L.Conv1D):
        inputs = tf.expand_dims(inputs, 1)
        sizes, strides, rates = (1, *sizes), (1, *strides), (1, *rates)
    patches = tf.image.extract_patches(
        inputs,
        (1, *sizes, 1),
        (1, *strides, 1),
        (1, *rates, 1),
        layer.padding.upper(),
    )
    groups, _ = _groups(layer)
    window = math.prod(sizes)
    patches = tf.reshape(patches, (-1, window, groups, inputs.shape[-1] // groups))
    return tf.reshape(
        tf.transpose(patches, (2, 0, 1, 3)),
        (groups, -1, window * inputs.shape[-1] // groups),
    )
